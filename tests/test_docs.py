"""The pages under docs/ name what is there."""

import re
from pathlib import Path

import chex

import tele_jax as tele

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/topologies.md").read_text()


def test_every_topology_is_on_its_page():
    builders = {name for name, value in vars(tele.graphs).items() if callable(value)}
    assert len(builders) > 30
    named = set(re.findall(r"`(\w+)[`(]", PAGE))
    assert builders <= named


def test_every_function_on_the_page_exists():
    called = set(re.findall(r"`(\w+)\(", PAGE)) - {"at", "hash"}
    assert {name for name in called if not hasattr(tele.graphs, name)} == set()
    for place in re.findall(r"`(?:tele\.)?(analysis|gossip)\.(\w+)`", PAGE):
        assert hasattr(getattr(tele, place[0]), place[1])


def test_links_and_pictures_exist():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_long_run_of_the_page_runs_and_is_found_again(tmp_path, monkeypatch):
    page = (ROOT / "docs/long_runs.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    first, again = {}, {}
    exec(example, first)
    exec(example, again)
    chex.assert_trees_all_equal(first["run"], again["run"])
    log = (tmp_path / "results" / "night" / "log.txt").read_text()
    assert "begins at round 2000" in log
    described = set(re.findall(r"^\| `(\S+?)/?` \|", page, re.MULTILINE))
    found = {path.name for path in (tmp_path / "results" / "night").iterdir()}
    assert described == found - {"lock"}


def test_the_images_of_the_page_run():
    page = (ROOT / "docs/images.md").read_text()
    names = {}
    for example in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(example, names)
    assert names["run"].metrics["accuracy"].shape == (3,)
    learnt = names["mine"].metrics["accuracy"]
    assert learnt[-1] > learnt[0] + 0.2
    assert names["needed"].total > names["needed"].data > 0
    models = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    for name in models:
        tele.tasks.models.by_name(name)
    assert len(models) == 7


def test_the_networks_of_the_page_run():
    page = (ROOT / "docs/networks.md").read_text()
    names = {}
    for example in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(example, names)
    assert names["seconds"].shape == (100,)
    assert int(names["run"].info.lost.sum()) > 0
    for name in re.findall(r"`network\.(\w+)", page):
        assert hasattr(tele.network, name), name
