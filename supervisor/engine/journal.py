"""The journal: the state as it is, with what is needed to find the processes and sockets that it speaks of.

It holds states and not events to replay: the last whole line is what counts. What must outlive the host replaces the
file (temporary, synced, renamed); what must outlive only the supervisor is a line more, which is quicker.
Format 2, a line is a JSON object:

* `format`, `service`, `boot` (kernel.random.boot_id: a journal of another boot speaks of processes that are no more),
* `supervisor`: pid and start ticks of the writer, `written`: seconds since 1970, `clock`: what the state's clock said,
* `sets`: for each set the inode of its socket on each listener, by name and in the order of the configuration,
* `listeners`: for each its sockets (number, inode, fd) in the order of their indexes, and whose the anchor is,
* `pipes`: the inodes of the readiness pipes that are open, by generation and run,
* `state`: `core.model.State`, field by field, with the number of a release in place of each release,
* `releases`: those. The server's whole environment is in each, and all generations may be of one,
* `served`: in place of `state.record.served`, with whole releases. It is much, and changes with a commit alone: a line
  that has none means what the one before has.

What reads it is `heritage`.
"""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from supervisor.core.model import Release
from supervisor.core.value import replace
from supervisor.engine.codec import plain
from supervisor.linux.process import start_ticks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from supervisor.core.model import State
    from supervisor.core.record import Served

FORMAT = 2
NAME = "journal.json"

_MOST_LINES = 1000
"""Lines after which the file is replaced in any case."""

_log = structlog.get_logger()


def _write(file: int, line: bytes) -> None:
    """The whole line or an OSError: a disk that fills up may take a part."""
    if os.write(file, line) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def boot_id() -> str:
    """What tells this boot of the host from others (proc(5))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class Journal:
    """One file. Whenever it is read, it has a whole state in it."""

    def __init__(self, folder: Path, service: str, whereabouts: Callable[[], Mapping[str, Any]]) -> None:
        """`whereabouts` tells `sets`, `listeners` and `pipes` at the time of writing."""
        self.path = folder / NAME
        self.fault: str | None = None
        self._service = service
        self._whereabouts = whereabouts
        self._file = -1
        self._lines = 0
        self._served: tuple[Served, ...] = ()
        self._served_text = "[]"
        self._releases: dict[Release, str] = {}
        """Those in the last line, in JSON."""
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._boot = boot_id()
        self._supervisor = {"pid": os.getpid(), "start_ticks": start_ticks(os.getpid())}

    def write(self, state: State, *, synced: bool) -> None:
        """Write what is true now. `synced`: it is on disk when this returns.

        A disk that refuses does not stop the service: the fault is logged when it begins and when it ends, and told
        by `fault` in between.
        """
        begin = synced or self._file < 0 or self._lines >= _MOST_LINES
        line = self._line(state, whole=begin)
        try:
            if begin:
                self._replace(line)
            else:
                _write(self._file, line)
                self._lines += 1
        except OSError as refused:
            self._fail(f"{self.path} cannot be written: {refused.strerror}")
            self._leave_file()  # half a line may be there: the next write starts a new file
            return
        if self.fault is not None:
            self.fault = None
            _log.info("journal_mended", path=str(self.path))

    def close(self) -> None:
        """Write no more."""
        self._leave_file()
        os.close(self._folder)

    def _leave_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file, self._lines = -1, 0

    def _replace(self, line: bytes) -> None:
        """The server's environment is in it, and with that its secrets: for the daemon's user alone."""
        temporary = self.path.with_suffix(".new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        file = os.open(temporary, flags, 0o600)
        try:
            _write(file, line)
            os.fsync(file)
            temporary.replace(self.path)
            os.fsync(self._folder)
        except OSError:
            os.close(file)
            raise
        self._leave_file()
        self._file, self._lines = file, 1

    def _line(self, state: State, *, whole: bool) -> bytes:
        served, changed = state.record.served, state.record.served is not self._served
        if changed:
            self._served, self._served_text = served, json.dumps(served, default=plain)
        head = {
            "format": FORMAT,
            "service": self._service,
            "boot": self._boot,
            "supervisor": self._supervisor,
            "written": time.time(),
            "clock": time.monotonic(),
            **self._whereabouts(),
            "state": replace(state, record=replace(state.record, served=())),
        }
        line, self._releases = _in_words(head, self._served_text if whole or changed else None, self._releases)
        return line

    def _fail(self, fault: str) -> None:
        if self.fault is None:
            _log.error("journal_failed", reason=fault, effect="the service goes on; a crash now could not be recovered")
        self.fault = fault


def for_elsewhere(state: State, service: str, epoch: float) -> bytes:
    """A journal of no boot, for another host: whoever reads it finds what is remembered, and nobody to look for.

    `state` is what `core.recovery.elsewhere` makes of one; `epoch` is when its clock began, in seconds since 1970.
    """
    head = {
        "format": FORMAT,
        "service": service,
        "boot": "",
        "supervisor": {"pid": 0, "start_ticks": 0},
        "written": epoch,
        "clock": 0.0,
        "sets": {},
        "listeners": [],
        "pipes": {},
        "state": replace(state, record=replace(state.record, served=())),
    }
    return _in_words(head, json.dumps(state.record.served, default=plain), {})[0]


def _in_words(
    head: Mapping[str, Any], served: str | None, known: Mapping[Release, str]
) -> tuple[bytes, dict[Release, str]]:
    """The line, and each of its releases in JSON, as it is `known` from the line before.

    `releases` comes last: what is in it is known when all before it has been put into words.
    """
    releases: dict[Release, int] = {}

    def default(value: object) -> object:
        return releases.setdefault(value, len(releases)) if isinstance(value, Release) else plain(value)

    said = json.dumps(head, default=default)
    texts = {each: known.get(each) or json.dumps(each, default=plain) for each in releases}
    more = "" if served is None else f'"served": {served}, '
    return f'{said[:-1]}, {more}"releases": [{", ".join(texts.values())}]}}\n'.encode(), texts
