"""The audit log: who asked for what, and what they were told, a line of JSON each (`audit.jsonl` in state_dir).

For people and for what collects logs; gapless itself never reads it. A line is written before the command that it tells
of is carried out (a signal's, when what that begins has begun), and is on disk a moment later, by a thread: a command
waits for no disk, and a disk that refuses stops none. That is told in the log, and the next line that can be written
says how many are lacking (`lost`).
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from supervisor.linux.inherit import in_thread

if TYPE_CHECKING:
    from pathlib import Path

_log = structlog.get_logger()

NAME = "audit.jsonl"
LARGEST = 4 * 1024 * 1024
"""Bytes. A file that would grow larger is put aside."""
KEPT = 4
"""Files that were put aside: `audit.jsonl.1` is the newest of them."""

_UNTIL_SYNCED = 0.25
"""Seconds until a line is put on disk: a thread would be in the way of the very command that the line tells of."""

Value = str | int | float | bool | list[int] | None


class Audit:
    """The audit log of one service."""

    def __init__(self, folder: Path, *, largest: int = LARGEST) -> None:
        self._path = folder / NAME
        self._largest = largest
        self._lost = 0
        self._fault: str | None = None
        self._torn = self._ends_torn()
        """What stands at its end is not a whole line."""
        self._unsynced = False
        self._syncing: asyncio.Future[None] | None = None

    def write(self, event: str, at: float, **fields: Value) -> None:
        """Add a line; `at` is in seconds since 1970. What is None is left out."""
        lost = {"lost": self._lost} if self._lost else {}
        when = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        said = {key: value for key, value in fields.items() if value is not None}
        line = json.dumps({"at": when, "event": event, **said, **lost}).encode() + b"\n"
        try:
            self._append(line)
        except OSError as refused:
            self._lost += 1
            self._fail("written", refused)
            return
        self._lost, self._fault, self._unsynced = 0, None, True
        if self._syncing is None:
            self._syncing = asyncio.ensure_future(self._sync())

    def close(self) -> None:
        """Have all that was written on disk."""
        if self._unsynced or self._syncing is not None:
            with suppress(OSError):
                self._fsync()

    def _append(self, line: bytes) -> None:
        """Raises OSError: what was written of it, if anything, is no line, and the next begins a new one."""
        file = self._open()
        try:
            if os.fstat(file).st_size + len(line) > self._largest and self._put_aside():
                os.close(file)
                file = self._open()
            data = b"\n" + line if self._torn else line
            written = os.write(file, data)
            self._torn = written < len(data)
            if self._torn:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(file)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def _put_aside(self) -> bool:
        """Make room: the oldest goes. Where names cannot be changed (chattr +a), it grows on instead, which is told."""
        try:
            self._fsync()
            for number in range(KEPT, 0, -1):
                older = self._aside(number - 1)
                if older.exists():
                    older.replace(self._aside(number))
        except OSError as refused:
            self._fail("put aside", refused)
            return False
        self._torn = False
        return True

    def _aside(self, number: int) -> Path:
        return self._path.with_name(f"{NAME}.{number}") if number else self._path

    async def _sync(self) -> None:
        while self._unsynced:
            await asyncio.sleep(_UNTIL_SYNCED)
            self._unsynced = False
            try:
                await in_thread(self._fsync)
            except (OSError, RuntimeError) as refused:  # RuntimeError: the host has no thread for us (RLIMIT_NPROC)
                self._fail("synced", refused)
        self._syncing = None

    def _fsync(self) -> None:
        """By a descriptor of its own: fsync(2) is for the file, whoever wrote to it."""
        file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)

    def _ends_torn(self) -> bool:
        with suppress(OSError), self._path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
        return False

    def _fail(self, what: str, refused: Exception) -> None:
        """Once for each fault, and not for each line."""
        reason = f"{self._path} cannot be {what}: {getattr(refused, 'strerror', None) or refused}"
        if reason != self._fault:
            _log.error("audit_failed", reason=reason, effect="commands are served all the same")
        self._fault = reason
