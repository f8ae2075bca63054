"""Every notebook runs from its first cell to its last, and has pictures to show."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


@pytest.mark.parametrize(
    "path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem
)
def test_notebook_runs(path):
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # kept clean in git
    NotebookClient(notebook, timeout=300).execute()
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    streams = [o.text for o in outputs if o.output_type == "stream"]
    assert [text for text in streams if "Warning" in text] == []
    assert any("image/png" in o.get("data", {}) for o in outputs)
