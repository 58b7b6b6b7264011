"""The history: every handoff that has ended, one JSON object a line, the newest last.

What is known only later, when the generation that a handoff left behind has ended, is a line of its own that says whose
report it belongs to. For people: nothing reads it back but `gapless history`.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_log = structlog.get_logger()

NAME = "history.jsonl"

_KEPT = 1000
"""Entries. When there are twice as many lines, the file is cut down to the newest of them."""

_LARGEST = 8 * 1024 * 1024
"""Bytes: reports on many listeners are long. A larger file is cut down too, to half of that at most."""

_AMENDS = "amends"

_LATE = 64
"""Lines: each entry has one more at most, and some that are near belong to older ones, as drains may be long."""


class History:
    """The file of one service."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._length = len(self._lines())

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add one and have it on disk. A disk that refuses is logged and is no reason to stop."""
        self._write(entry, synced=True)

    def amend(self, handoff: int, more: Mapping[str, Any]) -> None:
        """Add to the report of the newest handoff of that number."""
        self._write({_AMENDS: handoff, **more}, synced=False)

    def _write(self, entry: Mapping[str, Any], *, synced: bool) -> None:
        try:
            with self._path.open("ab") as file:
                file.write(json.dumps(entry).encode() + b"\n")
                file.flush()
                if synced:
                    os.fsync(file.fileno())
                size = file.tell()
            self._length += 1
            if self._length >= 2 * _KEPT or size > _LARGEST:
                self._cut()
        except OSError as refused:
            _log.error("history_failed", reason=f"{self._path} cannot be written: {refused.strerror}")

    def entries(self, limit: int) -> list[dict[str, Any]]:
        """The newest `limit` entries, oldest first. A line that a crash cut short is passed over."""
        return _entries(self._lines(), limit)

    def last_number(self) -> int:
        """The number of the newest handoff, or 0: the next supervisor of the service counts on from it."""
        return last_number(self._lines())

    def _lines(self) -> list[bytes]:
        try:
            return self._path.read_bytes().splitlines()
        except OSError:
            return []

    def _cut(self) -> None:
        kept = [json.dumps(entry).encode() + b"\n" for entry in self.entries(_KEPT)]
        size = sum(map(len, kept))
        while size > _LARGEST // 2:
            size -= len(kept.pop(0))
        temporary = self._path.with_suffix(".new")
        with temporary.open("wb") as file:
            file.writelines(kept)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
        self._length = len(kept)


def last_number(lines: Sequence[bytes]) -> int:
    """That of a history with these lines."""
    return max((entry["handoff"] for entry in _entries(lines, 1) if isinstance(entry.get("handoff"), int)), default=0)


def _entries(lines: Sequence[bytes], limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for line in lines[-2 * limit - _LATE :]:
        entry = _parsed(line)
        if entry is not None and _AMENDS in entry:
            _amend(found, entry)
        elif entry is not None:
            found.append(entry)
    return found[-limit:]


def _amend(entries: list[dict[str, Any]], more: dict[str, Any]) -> None:
    whose = more.pop(_AMENDS)
    for entry in reversed(entries):
        if entry.get("handoff") == whose:
            if isinstance(entry.get("report"), dict):  # else it is of a version that made none
                entry["report"].update(more)
            return


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None
