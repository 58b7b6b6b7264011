"""From a file, or from arguments, to a checked configuration; and from a fault to a sentence.

Every key is validated and unknown ones are refused. An error names key, value and what would do.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from supervisor.config.tables import (
    Configuration,
    ControlTable,
    DrainTable,
    HandoffTable,
    ListenTable,
    ReadyTable,
    RestartTable,
    ServiceTable,
    StopTable,
)
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic import BaseModel


def load(path: Path) -> Configuration:
    """Read and check a file. Raises ConfigurationError, with every fault that was found."""
    try:
        text = path.read_bytes().decode()
        return parse(tomllib.loads(text), str(path))
    except OSError as refused:
        raise ConfigurationError(f"{path} cannot be read: {refused.strerror}") from refused
    except UnicodeDecodeError as wrong:
        raise ConfigurationError(f"{path} is not UTF-8 text (byte {wrong.start})") from wrong
    except tomllib.TOMLDecodeError as wrong:
        raise ConfigurationError(f"{path} is not TOML: {wrong}") from wrong


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
        raise ConfigurationError("; ".join(_sentence(source, fault) for fault in wrong.errors())) from None


def _sentence(source: str, fault: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails, a loose dict
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"]).lstrip(".")
    match fault["type"]:
        case "missing":
            return f"{source}: {key} is missing"
        case "extra_forbidden":
            return f"{source}: {key} is not a key{_nearest(fault['loc'])}"
        case "value_error":
            what = str(fault["ctx"]["error"])
        case _:
            what = fault["msg"][0].lower() + fault["msg"][1:]
    if not key:
        return f"{source}: {what}"
    return f"{source}: {key} = {_shown(fault['input'])}: {what}"


def _shown(value: object) -> str:
    text = repr(value).replace("'", '"') if isinstance(value, (str, int, float, bool)) else repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"


_LONGEST_SHOWN = 80


def _nearest(location: tuple[int | str, ...]) -> str:
    model: type[BaseModel] = Configuration
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        model = _TABLES.get(part, model)
    near = difflib.get_close_matches(str(location[-1]), model.model_fields, n=1)
    return f" (did you mean {near[0]}?)" if near else f"; known are {', '.join(model.model_fields)}"


_TABLES: dict[int | str, type[BaseModel]] = {
    "service": ServiceTable,
    "listen": ListenTable,
    "ready": ReadyTable,
    "handoff": HandoffTable,
    "drain": DrainTable,
    "restart": RestartTable,
    "stop": StopTable,
    "control": ControlTable,
}


def _named(text: str) -> dict[str, str]:
    name, equals, address = text.partition("=")
    return {"name": name, "address": address} if equals else {"address": text}


def _service_name(command: list[str]) -> str:
    found = re.sub(r"[^A-Za-z0-9_.@-]", "-", Path(command[0]).name if command else "").lstrip("-._@")
    return found[:63] or "service"
