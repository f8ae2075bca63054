"""The pages under docs/ name what is there."""

import re
from pathlib import Path

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
