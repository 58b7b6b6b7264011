"""The log: structlog events with stable names, JSON to a file, fields to a journal, readable on a terminal.

It never keeps the daemon waiting, and never brings it down: where nobody reads what is written, or nobody is there
any more, lines are lost, and how many is told when there is room again.
"""

from __future__ import annotations

import json
import logging
import os
import select
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from supervisor.telemetry import journald

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    Fields = MutableMapping[str, Any]

_FIRST = ("timestamp", "level", "event")
_AT_ONCE = 4096
"""Bytes that a pipe takes without blocking when poll(2) says that it takes any (PIPE_BUF, pipe(7))."""


def configure(service: str = "") -> None:
    """Set the log up, on standard error. Nothing of the server's own output passes through it.

    `service` is what the entries of a journal are marked with.
    """
    if journald.is_behind(sys.stderr.fileno()):
        outlet = journald.Outlet(service)
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.format_exc_info,
                journald.Entry(service),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            logger_factory=lambda *_: outlet,
            cache_logger_on_first_use=True,
        )
        return
    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _by_the_clock if terminal else _by_the_calendar,
            structlog.processors.format_exc_info,
            *(
                [_printable, structlog.dev.ConsoleRenderer(pad_event_to=20, sort_keys=False)]
                if terminal
                else [_as_json]
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=Outlet(sys.stderr.fileno())),  # type: ignore[arg-type]  # write and flush are all that is used
        cache_logger_on_first_use=True,
    )


class Outlet:
    """A file descriptor that is written to as far as it takes something without delay."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._lost = 0

    def write(self, line: str) -> None:
        """A whole line, or nothing of it unless the reader stops in the middle."""
        if not self._takes():
            self._lost += 1
            return
        if self._lost:
            line = f"{json.dumps({'level': 'warning', 'event': 'log_lines_lost', 'count': self._lost})}\n{line}"
            self._lost = 0
        data = line.encode(errors="backslashreplace")
        while data and self._takes():
            try:
                data = data[os.write(self._fd, data[:_AT_ONCE]) :]
            except OSError:  # whoever read it has gone, or the disk is full: not a reason to stop serving
                self._lost += 1
                return

    def flush(self) -> None:
        """Nothing is kept back."""

    def _takes(self) -> bool:
        try:
            return any(found & select.POLLOUT for _, found in self._poll.poll(0))
        except OSError:
            return False


def _by_the_clock(_logger: object, _name: str, fields: Fields) -> Fields:
    """For people here and now."""
    fields["timestamp"] = f"{_happened(fields).astimezone():%H:%M:%S.%f}"
    return fields


def _by_the_calendar(_logger: object, _name: str, fields: Fields) -> Fields:
    """ISO 8601, of the same length always."""
    fields["timestamp"] = _happened(fields).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return fields


def _happened(fields: Fields) -> datetime:
    """When it happened (`at`, in seconds since 1970), where that is known to be before it is told."""
    return datetime.fromtimestamp(fields.pop("at", None) or time.time(), UTC)


def _as_json(_logger: object, _name: str, fields: Fields) -> str:
    """What every line has comes first, so that the eye finds it at the same place."""
    return json.dumps({key: fields.pop(key) for key in _FIRST if key in fields} | dict(fields), default=str)


def _printable(_logger: object, _name: str, fields: Fields) -> Fields:
    """A name or a reason from outside may hold what a terminal would obey."""
    for key, value in fields.items():
        if isinstance(value, str) and key != "exception":
            fields[key] = "".join(each if each.isprintable() else "?" for each in value)
    return {key: fields.pop(key) for key in _FIRST if key in fields} | dict(fields)
