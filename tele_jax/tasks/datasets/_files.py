"""Files that only the loaders need."""

import hashlib
from pathlib import Path
from typing import Any

from tele_jax._extras import import_extra


def sha256(path: Path) -> str:
    """The digest of a file.

    Raises:
      FileNotFoundError: it is not there.
    """
    return hashlib.sha256(path.read_bytes()).hexdigest()


def downloaded(who: str, url: str, digest: str, instead: str, **options: Any) -> Any:
    """What ``pooch.retrieve`` gives, kept once in the user's cache.

    Args:
      who: the dataset; its folder in the cache has this name.
      url: of the file.
      digest: its SHA-256.
      instead: what to do where nothing can be downloaded.
      options: of ``pooch.retrieve``.

    Raises:
      FileNotFoundError: it cannot be downloaded.
      ValueError: it is not the official file; nothing is kept then.
      ImportError: pooch is missing.
    """
    pooch = import_extra("datasets", "pooch", "experiments")
    advice = f"nothing was kept. Try again, or {instead} and set TELE_JAX_DATA=<dir>."
    try:
        return pooch.retrieve(
            url=url,
            known_hash=f"sha256:{digest}",
            fname=url.rsplit("/", 1)[1],
            path=Path(pooch.os_cache("tele_jax")) / who,
            **options,
        )
    except OSError as error:
        raise FileNotFoundError(
            f"{who}: {url} cannot be downloaded ({error}); {advice}"
        ) from error
    except ValueError as error:  # pooch's own sentence has both digests.
        raise ValueError(
            f"{who}: {url} is not the official file ({error}); {advice}"
        ) from error
