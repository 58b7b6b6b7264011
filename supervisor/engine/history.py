"""The history: every handoff that has ended, one JSON object a line, the newest last.

For people: nothing reads it back but `gapless history`.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_log = structlog.get_logger()

_KEPT = 1000
"""Entries. When there are twice as many, the file is cut down to the newest of them."""


class History:
    """The file `history.jsonl` of one service."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "history.jsonl"
        self._length = len(self.entries(limit=2 * _KEPT))

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add one and have it on disk. A disk that refuses is logged and is no reason to stop."""
        try:
            with self._path.open("ab") as file:
                file.write(json.dumps(entry).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            self._length += 1
            if self._length >= 2 * _KEPT:
                self._cut()
        except OSError as refused:
            _log.error("history_failed", reason=f"{self._path} cannot be written: {refused.strerror}")

    def entries(self, limit: int) -> list[dict[str, Any]]:
        """The newest `limit` entries, oldest first. A line that a crash cut short is passed over."""
        try:
            lines = self._path.read_bytes().splitlines()[-limit:]
        except OSError:
            return []
        return [entry for line in lines if (entry := _parsed(line)) is not None]

    def _cut(self) -> None:
        kept = self.entries(_KEPT)
        temporary = self._path.with_suffix(".new")
        with temporary.open("wb") as file:
            file.writelines(json.dumps(entry).encode() + b"\n" for entry in kept)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
        self._length = len(kept)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
