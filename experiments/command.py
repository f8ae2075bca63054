"""What every study does at the command line."""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import tyro

Config = TypeVar("Config")


def run(
    name: str, config: type[Config], study: Callable[[Config], Any], description: str
) -> None:
    """Run a study whose flags are the fields of its ``Config``.

    Bad input is one line that begins with the study's name, without a traceback.
    """
    parsed = tyro.cli(config, description=description)
    try:
        study(parsed)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"{name}: interrupted; nothing was written.")
