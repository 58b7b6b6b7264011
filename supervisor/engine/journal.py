"""The journal: the state as it is, with what is needed to find the processes and sockets that it speaks of.

It holds a state and not events to replay. Format 1 is a JSON object:

* `format`, `service`, `boot` (kernel.random.boot_id: a journal of another boot speaks of processes that are no more),
* `supervisor`: pid and start ticks of the writer, `written`: seconds since 1970,
* `sockets`: for each set the inode that each listener's socket has,
* `state`: `core.model.State`, field by field.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from supervisor.linux.process import start_ticks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from supervisor.core.model import State

FORMAT = 1

_log = structlog.get_logger()


def _private(path: str, flags: int) -> int:
    """The environment of the server is in it, and with that its secrets."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _fields(value: object) -> dict[str, Any]:
    """The core's dataclasses, field by field."""
    return {name: getattr(value, name) for name in value.__slots__}  # type: ignore[attr-defined]  # all have slots


class Journal:
    """One file, replaced as a whole: at any instant it is the old state or the new one."""

    def __init__(self, folder: Path, service: str, sockets: Callable[[], Mapping[str, Mapping[str, int]]]) -> None:
        """`sockets` tells the inodes at the time of writing."""
        self.path = folder / "journal.json"
        self.fault: str | None = None
        self._service = service
        self._sockets = sockets
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        self._supervisor = {"pid": os.getpid(), "start_ticks": start_ticks(os.getpid())}

    def write(self, state: State, *, synced: bool) -> None:
        """Replace what was written before. `synced`: it is on disk when this returns.

        A disk that refuses does not stop the service: the fault is logged when it begins and when it ends, and told
        by `fault` in between.
        """
        text = json.dumps(self._document(state), default=_fields).encode()
        temporary = self.path.with_suffix(".new")
        try:
            with open(temporary, "wb", opener=_private) as file:
                file.write(text)
                if synced:
                    file.flush()
                    os.fsync(file.fileno())
            temporary.replace(self.path)
            if synced:
                os.fsync(self._folder)
        except OSError as refused:
            self._fail(f"{self.path} cannot be written: {refused.strerror}")
            return
        if self.fault is not None:
            self.fault = None
            _log.info("journal_mended", path=str(self.path))

    def read(self) -> dict[str, Any] | None:
        """What was written last, unchecked but for being JSON; None if there is nothing to be read."""
        try:
            found = json.loads(self.path.read_bytes())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def _document(self, state: State) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "service": self._service,
            "boot": self._boot,
            "supervisor": self._supervisor,
            "written": time.time(),
            "sockets": self._sockets(),
            "state": state,
        }

    def _fail(self, fault: str) -> None:
        if self.fault is None:
            _log.error("journal_failed", reason=fault, effect="the service goes on; a crash now could not be recovered")
        self.fault = fault
