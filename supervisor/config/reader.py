"""The process that reads a configuration for the daemon, and ends: what checks one is too large to be kept.

It is given the text on standard input, and answers on standard output with a line of JSON: `version`, and either
`settings` or `refused`, a sentence. See `source`, which starts it.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from supervisor import __version__
from supervisor.config.settings import Settings, to_json
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.config.tables import Configuration


def main() -> None:
    """Read, answer, end. `sys.argv` says what is read (`file` or `arguments`) and what it is called."""
    kind, name = sys.argv[1:3]
    answer: dict[str, Any] = {"version": __version__}
    try:
        answer["settings"] = _read(kind, name, sys.stdin.buffer.read())
    except ConfigurationError as refused:
        answer["refused"] = str(refused)
    sys.stdout.write(to_json(answer) + "\n")
    sys.stdout.flush()
    os._exit(0)  # who waits for the end of the output need not wait until all modules are taken down


def _read(kind: str, name: str, text: bytes) -> Settings:
    with _variable("PYDANTIC_DISABLE_PLUGINS", "__all__"):  # or it looks through all installed packages for some
        from supervisor.config import reading  # noqa: PLC0415 - loads pydantic
    if kind == "arguments":
        return _settings(reading.from_arguments(**json.loads(text)))
    return _settings(reading.from_text(text, name))


def _settings(configuration: Configuration) -> Settings:
    return Settings(
        service=configuration.service.name,
        state_dir=configuration.service.state_dir,
        control=configuration.control.socket,
        admission=configuration.control.admission(),
        people=configuration.control.people,
        launch=configuration.launch(),
        policy=configuration.policy(),
        clearance=configuration.clearance(),
        follow=configuration.releases.followed(),
    )


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    """Set in the environment meanwhile. The servers' own is made of what is there afterwards."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
