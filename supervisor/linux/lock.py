"""A lock held by the process and not by a file that stays (flock(2)): it goes when its holder goes."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from supervisor.errors import HostError

if TYPE_CHECKING:
    from pathlib import Path


class Lock:
    """Held from construction until the process ends. Children do not inherit it (close-on-exec)."""

    def __init__(self, path: Path, what: str) -> None:
        """Take the lock on `what`. Raises HostError, naming the holder, if another process has it."""
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as refused:
            raise HostError(f"cannot lock {what}: {path}: {refused.strerror}") from refused
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._fd)
            raise HostError(f"{what} is already supervised by pid {holder} (state in {path.parent})") from None
        with suppress(OSError):  # a disk that is full: who holds it is for people alone
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another process have it."""
        os.close(self._fd)
