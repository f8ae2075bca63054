"""How the documentation site is built: ``make docs``.

The source folder is the repository itself, so that the pages, the notebooks and the
README lie where a reader of the repository looks for them.
"""

import importlib.metadata

project = "tele_jax"
author = "the tele_jax developers"
version = release = importlib.metadata.version("tele_jax")
root_doc = "docs/index"
include_patterns = ["README.md", "CHANGELOG.md", "docs/**", "notebooks/*.ipynb"]
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"  # the package may have changed, not only the cells
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False

# Names such as ``rounds`` are attributes of several classes: not every mention links.
suppress_warnings = ["ref.python"]

html_theme = "furo"
html_title = "tele_jax"
html_copy_source = False
