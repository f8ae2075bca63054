"""Imported before all else of the folder: matplotlib, or what to type to get it."""

from tele_jax._extras import import_extra

import_extra("plot", "matplotlib", "plot")
