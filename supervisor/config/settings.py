"""What the daemon wants of a configuration: plain values, which travel from the process that reads it as JSON."""

from __future__ import annotations

import json
from typing import Any

from msgspec import Struct, field
from msgspec.structs import asdict

from supervisor.core.access import Admission, Members
from supervisor.core.clearance import Clearance, Gate
from supervisor.core.launch import Launch, Listen, Store
from supervisor.core.policy import HealthProbe, HttpCheck, Policy, WarmUp


class Settings(Struct, frozen=True, kw_only=True):
    """A configuration, checked and translated."""

    service: str
    state_dir: str | None
    """None: where such folders are by default (`paths`)."""
    control: str | None
    """The control socket, likewise."""
    admission: Admission = field(default_factory=Admission)
    """Who may use it, and what for."""
    people: tuple[str, ...] = ()
    """By what names that was said, of users and, after an @, of groups: the numbers are this host's."""
    launch: Launch
    policy: Policy
    clearance: Clearance
    follow: str | None = None
    """What begins an upgrade by itself: current or patch; None: nothing does (`core.following`)."""


_KIND = ""
"""The key of a JSON object that names its class. No field can have that name."""
_CLASSES = (
    Settings,
    Launch,
    Listen,
    Store,
    Policy,
    HttpCheck,
    HealthProbe,
    WarmUp,
    Admission,
    Members,
    Clearance,
    Gate,
)
_KINDS = {each.__name__: each for each in _CLASSES}


def to_json(answer: dict[str, Any]) -> str:
    """An object that may have settings in it, in one line of ASCII."""
    return json.dumps(answer, default=_fields)


def from_json(text: str | bytes) -> Any:  # noqa: ANN401 - whatever JSON can say
    """What `to_json` was given; lists come back as tuples. Raises ValueError or TypeError for what it has not written.

    Fields go by name, so that one which this version does not have is noticed.
    """
    return json.loads(text, object_hook=_object)


def _fields(value: object) -> dict[str, Any]:
    kind = type(value).__name__
    if _KINDS.get(kind) is not type(value):
        raise TypeError(f"{value!r} is nothing that settings consist of")
    return {_KIND: kind, **asdict(value)}


def _object(fields: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever JSON can say
    named = {name: _frozen(value) for name, value in fields.items()}
    kind = named.pop(_KIND, None)
    if kind is None:
        return named
    if kind not in _KINDS:
        raise ValueError(f"{kind} is nothing that settings consist of")
    return _KINDS[kind](**named)


def _frozen(value: Any) -> Any:  # noqa: ANN401 - whatever JSON can say
    return tuple(_frozen(each) for each in value) if isinstance(value, list) else value
