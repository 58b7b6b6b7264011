"""Values as people write them in the configuration: durations, signals, limits."""

from __future__ import annotations

import re
import signal

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_DURATION_UNITS = (3600.0, 60.0, 1.0, 0.001)
_LONGEST = 365 * 24 * 3600.0


LIMITS = ("as", "core", "cpu", "data", "fsize", "memlock", "nofile", "nproc", "rss", "rtprio", "sigpending", "stack")
"""RLIMIT names, small and without the prefix."""


def duration(value: object) -> object:
    """Seconds of `500ms`, `30s`, `1m30s`, `2h`; anything else is refused."""
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        if match and value:
            seconds = sum(float(n) * unit for n, unit in zip(match.groups("0"), _DURATION_UNITS, strict=True))
            if seconds <= _LONGEST:
                return seconds
    raise ValueError("want a duration such as 500ms, 30s or 1m30s")


def signal_name(value: object) -> object:
    """A signal by name, with or without SIG."""
    if isinstance(value, str):
        name = value.upper().removeprefix("SIG")
        if f"SIG{name}" in signal.Signals.__members__ and name not in {"KILL", "STOP"}:
            return name
    raise ValueError("want a signal by name, such as TERM or QUIT; KILL and STOP cannot be handled by a server")


def limit(name: str, value: int | str) -> tuple[int, int]:
    """A number, or `soft:hard`; -1 or `unlimited` for no limit."""
    words = str(value).split(":")
    try:
        numbers = [-1 if word in {"unlimited", "infinity", "-1"} else int(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) not in {1, 2} or any(number < -1 for number in numbers):
        raise ValueError(f'{name} = {value!r}: want a number, "soft:hard" or "unlimited"')
    return numbers[0], numbers[-1]
