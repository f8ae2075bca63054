"""What a reader needs to know, a year later, to trust a number and to get it again."""

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from cattrs import BaseValidationError, transform_error
from cattrs.preconf.json import make_converter

from tele_jax._digest import digest as digest
from tele_jax.connection import PACKAGES

Config = TypeVar("Config")

_CODE = Path(__file__).parents[1]
_converter = make_converter(forbid_extra_keys=True)


def config_to_json(config: Any) -> str:
    """A dataclass, or a dict of numbers and words, as JSON that people can read.

    >>> print(config_to_json({"rate": 0.1}), end="")
    {
      "rate": 0.1
    }
    """
    return json.dumps(_converter.unstructure(config), indent=2) + "\n"


def load_config(path: Path | str, kind: type[Config]) -> Config:
    """The dataclass of a ``config.json``, equal to the one that was written.

    Raises:
      ValueError: the file does not fit the dataclass, field by field.

    >>> import dataclasses, tempfile
    >>> @dataclasses.dataclass
    ... class Config:
    ...     rates: tuple[float, ...]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "config.json"
    ...     _ = path.write_text(config_to_json(Config((0.1, 0.2))))
    ...     load_config(path, Config)
    Config(rates=(0.1, 0.2))
    """
    try:
        return _converter.loads(Path(path).read_text(), kind)
    except (BaseValidationError, ValueError) as error:
        reasons = (
            transform_error(error, path="")
            if isinstance(error, BaseValidationError)
            else [str(error)]
        )
        raise ValueError(
            f"load_config: {path} is no {kind.__name__}: {'; '.join(reasons)}."
        ) from None


def environment() -> dict[str, Any]:
    """Versions, devices, flags, and the state of the code, as far as it is known.

    >>> environment()["packages"]["jax"] == jax.__version__
    True
    """
    return {
        "command": ["python", *sys.orig_argv[1:]],
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "devices": [str(device) for device in jax.devices()],
        "cpu_cores": os.cpu_count(),
        "platform": platform.platform(),
        "flags": {
            name: value
            for name, value in os.environ.items()
            if name.startswith(("JAX_", "XLA_"))
        },
        "git_commit": _git("rev-parse", "HEAD"),
        "git_changes": _git("status", "--porcelain"),
    }


def fingerprint(data: Any = None) -> dict[str, str]:
    """What has to be the same for a run to go on as if it had never stopped.

    Args:
      data: a pytree, such as the task, of which a digest is taken.

    >>> sorted(fingerprint())[:5]
    ['XLA_FLAGS', 'code', 'data', 'device', 'flax']
    """
    device, *_ = jnp.zeros(()).devices()  # where arrays go unless told otherwise
    return {
        "data": digest(data),
        "code": digest_of_code(_CODE),
        "device": device.device_kind,
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
        **{name: metadata.version(name) for name in PACKAGES[1:]},
    }


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Entries of two mappings that are not equal in JSON, as (before, now).

    >>> differences({"recipe": {"rate": 1}}, {"recipe": {"rate": 2}})
    {'recipe.rate': (1, 2)}
    """
    found = {}
    for name in [*before, *(name for name in now if name not in before)]:
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            inside = differences(old, new).items()
            found.update({f"{name}.{entry}": pair for entry, pair in inside})
        elif json.dumps(old) != json.dumps(new):  # NaN is not itself, but its JSON is
            found[name] = (old, new)
    return found


def among(name: str, names: Sequence[str]) -> bool:
    """Whether an entry is named, or a mapping that it is in.

    >>> among("recipe.rate", ["recipe"]), among("recipe", ["recipe.rate"])
    (True, False)
    """
    return any(name == other or name.startswith(f"{other}.") for other in names)


def digest_of_code(folder: Path) -> str:
    """A hash of all Python files of a folder: also what is not committed counts."""
    found = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.rglob("*.py")):
        found.update(str(path.relative_to(folder)).encode())
        found.update(path.read_bytes())
    return found.hexdigest()


def _git(*arguments: str) -> str | None:
    """What git says of the code that runs; None where it is not a checkout."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(_CODE), *arguments], capture_output=True, text=True
        )
    except FileNotFoundError:
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
