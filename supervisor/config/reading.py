"""From a file, or from arguments, to a checked configuration; and from a fault to a sentence.

Every key is validated and unknown ones are refused. An error names key, value and what would do.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from supervisor.config.faults import sentence
from supervisor.config.source import contents
from supervisor.config.tables import Configuration
from supervisor.errors import ConfigurationError

_LARGEST_SHOWN = 200
"""Characters of what tomllib says."""


def load(path: Path) -> Configuration:
    """Read and check a file. Raises ConfigurationError, with every fault that was found."""
    return from_text(contents(path), str(path))


def from_text(text: bytes, source: str) -> Configuration:
    """Check what a file says; `source` is what it is called. Raises ConfigurationError likewise."""
    try:
        return parse(tomllib.loads(text.decode()), source)
    except UnicodeDecodeError as wrong:
        raise ConfigurationError(f"{source} is not UTF-8 text (byte {wrong.start}): save it as UTF-8") from wrong
    except ValueError as wrong:  # TOMLDecodeError, and what int() and date() say of what looked like one
        raise ConfigurationError(f"{source} is not TOML: {_one_line(wrong)}") from wrong
    except RecursionError:
        raise ConfigurationError(f"{source} is nested too deeply: want tables of plain values") from None


def _one_line(wrong: ValueError) -> str:
    return "".join(each if each.isprintable() else "?" for each in str(wrong))[:_LARGEST_SHOWN]


def from_arguments(command: list[str], addresses: list[str], *, name: str | None, socket: str | None) -> Configuration:
    """The configuration that arguments alone amount to. An address may have a name: `http=127.0.0.1:8080`."""
    listen = [_named(text) for text in addresses]
    service = {"name": name or _service_name(command), "command": command}
    return parse({"service": service, "listen": listen, "control": {"socket": socket} if socket else {}}, "arguments")


def parse(data: dict[str, Any], source: str) -> Configuration:
    """Check data that has a configuration's shape. Raises ConfigurationError."""
    try:
        return Configuration.model_validate(data)
    except ValidationError as wrong:
        raise ConfigurationError(sentence(source, wrong.errors(include_url=False))) from None


def _named(text: str) -> dict[str, str]:
    if text.startswith("unix:"):
        return {"address": text}
    name, equals, address = text.partition("=")
    return {"name": name, "address": address} if equals else {"address": text}


def _service_name(command: list[str]) -> str:
    found = re.sub(r"[^A-Za-z0-9_.@-]", "-", Path(command[0]).name if command else "").lstrip("-._@")
    return found[:63] or "service"
