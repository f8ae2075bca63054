"""Imported before all else of the folder: its packages, or what to type to get them."""

from tele_jax._extras import import_extra

for _package in ("orbax.checkpoint", "pyarrow", "cattrs", "filelock"):
    import_extra("runs", _package, "experiments")
