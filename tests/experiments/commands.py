"""What the tests of all commands share."""

import pytest


def refused(name, capsys, call, code=2):
    """The sentence with which a command ends, and nothing else that it says."""
    with pytest.raises(SystemExit) as stop:
        call()
    assert stop.value.code == code
    *_, line = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"{name}: ")
    return line
