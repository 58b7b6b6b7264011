"""From a fault to a sentence: the key as it stands in the file, its value as TOML writes it, and what would do."""

from __future__ import annotations

import difflib
import json
import re
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import BaseModel

from supervisor.config.tables import Configuration

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST = 8
"""Faults that are told at a time."""
_LONGEST_SHOWN = 60
_FREE = frozenset({"environment", "limits", "headers"})
"""Tables whose keys are the operator's: a fault in a key itself has the key after them, and then pydantic's mark."""
_BARE = re.compile(r"[A-Za-z0-9_-]{1,60}")

_WANTED = {
    "service": 'a [service] table with name = "web" and command = ["/srv/web/server"]',
    "service.name": 'a name, such as name = "web"',
    "service.command": 'a list of strings, such as command = ["/srv/web/server", "--flag"]',
    "service.umask": 'octal digits in quotes, such as umask = "022"',
    "service.environment": 'a table of strings, such as [service.environment] with PORT = "8080"',
    "service.groups": 'a list of groups, such as groups = ["ssl-cert"]',
    "service.capabilities": 'a list of capabilities, such as capabilities = ["net_bind_service"]',
    "service.nice": "a whole number from -20 to 19, such as nice = 5",
    "service.oom_score_adj": "a whole number from -1000 to 1000, such as oom_score_adj = -500",
    "service.dialects": 'a list of dialects, such as dialects = ["einhorn"]',
    "service.stdin": 'the name of a listener, such as stdin = "http"',
    "service.limits": "a table of limits, such as [service.limits] with nofile = 65536",
    "listen": 'a table for each address, headed [[listen]], with address = "127.0.0.1:8080"',
    "listen.address": 'an address, such as address = "127.0.0.1:8080"',
    "ready.http": 'a table of what is to be answered, such as http = { path = "/healthz", status = 200 }',
    "ready.warm_up": 'a table of what is to be asked, such as warm_up = { paths = ["/"], rounds = 10 }',
    "ready.warm_up.paths": 'a list of paths, such as paths = ["/", "/search?q=x"]',
    "health.http": 'a table of what is to be answered, such as http = { path = "/healthz", status = 200 }',
    "control": 'a [control] table with socket = "/full/path.sock"',
    "control.mode": 'octal digits in quotes, such as mode = "0660"',
    "control.viewers": 'a list of users and, after an @, groups, such as viewers = ["alice", "@web"]',
    "control.operators": 'a list of users and, after an @, groups, such as operators = ["alice", "@web"]',
    "control.admins": 'a list of users and, after an @, groups, such as admins = ["alice", "@wheel"]',
}
"""By key: what would do, where its type alone does not say so."""

_BY_TYPE = {
    "string_type": "a string, in quotes",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "dict_type": "a table",
    "model_type": "a table",
    "list_type": "a list, in brackets",
    "too_short": "a list that is not empty",
}


def sentence(source: str, faults: Sequence[Any]) -> str:
    """All faults in one line; `source` is where they are."""
    told = [_one(fault) for fault in faults[:_MOST]]
    if len(faults) > _MOST:
        told.append(f"and {len(faults) - _MOST} more")
    return f"{source}: {'; '.join(told)}"


def _one(fault: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails, a loose dict
    of_key = fault["loc"][-1:] == ("[key]",) and fault["loc"][-3:-2] and fault["loc"][-3] in _FREE
    location = fault["loc"][:-1] if of_key else fault["loc"]
    key, value = _key(location), fault["input"]
    match fault["type"]:
        case "missing":
            return f"{key} is missing: want {_wanted(location) or 'a value'}"
        case "extra_forbidden":
            return f"{key} is not known{_nearest(location)}"
        case "value_error":
            what = str(fault["ctx"]["error"])
        case _:
            what = f"want {_wanted_instead(location, fault)}"
    if not key:
        return what
    if of_key or isinstance(value, dict):
        return f"{key}: {what}"
    return f"{key} = {shown(value)}: {what}"


def _wanted_instead(location: tuple[int | str, ...], fault: Any) -> str:  # noqa: ANN401 - the same loose dict
    limits = fault.get("ctx", {})
    match fault["type"]:
        case "literal_error":
            return _either(_literals(location))
        case "greater_than":
            return "more than nothing"
        case "greater_than_equal":
            return f"at least {limits['ge']}"
        case "less_than_equal":
            return f"at most {limits['le']}"
        case kind:
            return _wanted(location) or _BY_TYPE.get(kind) or str(fault["msg"])


def _wanted(location: tuple[int | str, ...]) -> str | None:
    """What would do for a key as such; for an element of a list its type says it."""
    if location and isinstance(location[-1], int) and location[0] != "listen":
        return None
    return _WANTED.get(".".join(part for part in location if isinstance(part, str)))


def _literals(location: tuple[int | str, ...]) -> tuple[str, ...]:
    """What may stand there, or in a list that does."""
    at = max(number for number, part in enumerate(location) if isinstance(part, str))
    annotation = _model(location[:at]).model_fields[str(location[at])].annotation
    while get_origin(annotation) is not Literal:
        annotation = get_args(annotation)[0]
    return get_args(annotation)


def _either(values: tuple[str, ...]) -> str:
    quoted = [json.dumps(value) for value in values]
    return " or ".join(filter(None, (", ".join(quoted[:-1]), quoted[-1])))


def _nearest(location: tuple[int | str, ...]) -> str:
    known = _model(location[:-1]).model_fields
    near = difflib.get_close_matches(str(location[-1])[:_LONGEST_SHOWN], known, n=1)
    if near:
        return f": did you mean {near[0]}?"
    elsewhere = [table for table, field in Configuration.model_fields.items() if location[-1] in _fields(field)]
    if elsewhere:
        return f" here: it belongs to {' or '.join(f'[{table}]' for table in elsewhere)}"
    return f": known here are {', '.join(known)}"


def _model(location: tuple[int | str, ...]) -> type[BaseModel]:
    """The table that stands at this place."""
    model: type[BaseModel] = Configuration
    for part in location:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        model = (_table(field.annotation) if field else None) or model
    return model


def _table(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - any annotation
    for each in (annotation, *get_args(annotation)):
        if isinstance(each, type) and issubclass(each, BaseModel):
            return each
    return None


def _fields(field: Any) -> dict[str, Any]:  # noqa: ANN401 - pydantic's FieldInfo
    table = _table(field.annotation)
    return table.model_fields if table else {}


def _key(location: tuple[int | str, ...]) -> str:
    """As it could be written in the file: `listen[1].address` is of the second one (counted from 0, as lists are)."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part if _BARE.fullmatch(part) else _cut(json.dumps(part, ensure_ascii=False))}"
    return text.lstrip(".")


def shown(value: object) -> str:
    """A value as TOML has it, or as much of it as the eye wants."""
    return _cut(_toml(value))


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value, ensure_ascii=False)
        case int() | float():
            return str(value)[: _LONGEST_SHOWN + 1] if isinstance(value, float) else _digits(value)
        case list() | tuple():
            return f"[{', '.join(_toml(each) for each in value[:_MOST])}]"
        case dict():
            return "{" + ", ".join(f"{key} = {_toml(each)}" for key, each in list(value.items())[:_MOST]) + "}"
        case _:
            return str(value)


def _digits(value: int) -> str:
    """Python refuses to write out very large numbers, as a guard against their cost."""
    return str(value) if value.bit_length() < 256 else "a very large number"  # noqa: PLR2004 - more than any eye wants


def _cut(text: str) -> str:
    printable = "".join(each if each.isprintable() else "?" for each in text)
    return printable if len(printable) <= _LONGEST_SHOWN else printable[: _LONGEST_SHOWN - 1] + "…"
