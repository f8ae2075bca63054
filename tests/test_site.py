"""The documentation site builds without a warning: links, pictures, docstrings.

The notebooks are executed by their own tests.
"""

import re
import subprocess
import sys
from pathlib import Path

import tele_jax as tele

ROOT = Path(__file__).parents[1]


def test_the_site_is_built_and_has_every_public_name(tmp_path):
    words = "-m sphinx -c docs -b html -W --keep-going -q -D nb_execution_mode=off"
    built = subprocess.run(
        [sys.executable, *words.split(), "-d", tmp_path / "trees", ".", tmp_path / "s"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    pages = [page.read_text() for page in (tmp_path / "s/docs/api").glob("*.html")]
    text = "\n".join(pages)
    for name, value in vars(tele).items():
        if callable(value) and not name.startswith("_"):
            assert re.search(rf'id="tele_jax\.([\w.]+\.)?{name}"', text), name
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        assert (tmp_path / f"s/notebooks/{notebook.stem}.html").exists()
