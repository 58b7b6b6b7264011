"""Einhorn's way of a worker to say that it is ready: a line on a Unix stream socket, `EINHORN_SOCK_PATH`.

The line is YAML of `{"command": "worker:ack", "pid": PID}`, in which `%` and the ends of lines are written as `%25` and
`%0A`; nothing is answered, and the connection is closed (contribsys/einhorn, `lib/einhorn/client.rb`). Its Ruby client
sends block YAML, others JSON, which is YAML too. Both are read here as the small subset that they are: a loader of
YAML would make objects of what a stranger says. Unlike Einhorn, we believe the kernel on who is speaking.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import structlog

from supervisor.linux.process import belongs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_log = structlog.get_logger()

LONGEST_LINE: Final = 4096
MOST_CONNECTIONS: Final = 8
"""At one time: a further one takes the place of the oldest."""
_MOST_LOGGED = 10
"""Refusals of one child. Who sends nonsense in a loop does not fill the log."""
_PAUSE = 1.0
"""Seconds in which none is accepted, after the host had no file descriptor for one."""

_CREDENTIALS = struct.Struct("iII")
"""struct ucred (unix(7)): pid, uid, gid."""

_START = re.compile(r"---[ ]*")
_PAIR = re.compile(r"""([a-z_]{1,32}):[ ]+(?:"([^"\\]*)"|'([^']*)'|([A-Za-z0-9_][A-Za-z0-9_.:-]*))[ ]*""")


def parse(line: bytes) -> Mapping[str, str]:
    """The fields of one message, given without the end of its line. Raises ValueError for what is none."""
    text = re.sub("%(25|0A)", lambda found: "%" if found[1] == "25" else "\n", line.decode("ascii"))
    return _json(text) if text.startswith("{") else _block(text)


class AckSocket:
    """The socket that one child is told of, for one run."""

    def __init__(self, path: Path, owner: int | None = None) -> None:
        """Bind at `path`, for `owner` (a uid; None: ours) alone. Raises OSError."""
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            path.unlink(missing_ok=True)
            self._socket.bind(str(path))
            path.chmod(0o600)
            if owner is not None:
                os.chown(path, owner, -1)
            self._socket.listen(MOST_CONNECTIONS)
        except OSError:
            self._socket.close()
            raise
        self._loop = asyncio.get_running_loop()
        self._open: dict[socket.socket, bytes] = {}
        self._child = 0
        self._refused = 0
        self._on_ack: Callable[[], None] = lambda: None

    def listen(self, child: int, on_ack: Callable[[], None]) -> None:
        """The child exists: call `on_ack` whenever it says that it is ready."""
        self._child, self._on_ack = child, on_ack
        self._loop.add_reader(self._socket.fileno(), self._accept)

    def close(self) -> None:
        """The child is no more, or was never made. Leaves no file behind."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        for each in list(self._open):
            self._end(each)
        with suppress(OSError):
            self.path.unlink()

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as refused:
            self._loop.remove_reader(self._socket.fileno())
            self._loop.call_later(_PAUSE, self._accept_again)
            self._refuse(0, f"cannot accept: {refused.strerror}")
            return
        connection.settimeout(0)
        if len(self._open) >= MOST_CONNECTIONS:
            self._end(next(iter(self._open)))
        self._open[connection] = b""
        self._loop.add_reader(connection.fileno(), self._read, connection)

    def _accept_again(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.add_reader(self._socket.fileno(), self._accept)

    def _read(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(LONGEST_LINE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._open[connection] += data
        line, end, _ = self._open[connection].partition(b"\n")
        if end or not data or len(line) > LONGEST_LINE:
            speaker = _peer(connection)
            self._end(connection)
            if end or line:
                self._hear(speaker, line, whole=bool(end))

    def _end(self, connection: socket.socket) -> None:
        self._loop.remove_reader(connection.fileno())
        self._open.pop(connection, None)
        connection.close()

    def _hear(self, speaker: int, line: bytes, *, whole: bool) -> None:
        try:
            if not whole or len(line) > LONGEST_LINE:
                raise ValueError(f"want a line of at most {LONGEST_LINE} bytes, with its end")  # noqa: TRY301 - one way to refuse
            fields = parse(line)
            self._check_speaker(speaker, fields)
        except ValueError as wrong:
            self._refuse(speaker, str(wrong))
            return
        if fields["command"] == "worker:ack":
            self._on_ack()

    def _check_speaker(self, speaker: int, fields: Mapping[str, str]) -> None:
        if fields.get("command") not in {"worker:ack", "worker:ping"}:
            raise ValueError("want the command worker:ack or worker:ping")
        if not belongs(speaker, self._child):
            raise ValueError(f"want it from process {self._child} or its process group")
        if fields.get("pid") not in {str(speaker), str(self._child)}:
            raise ValueError(f"says that it is process {fields.get('pid')}, and is not")

    def _refuse(self, speaker: int, reason: str) -> None:
        self._refused += 1
        if self._refused <= _MOST_LOGGED:
            _log.warning("ack_refused", child=self._child, pid=speaker, reason=reason)


def _peer(connection: socket.socket) -> int:
    """The pid of who connected, by the kernel's word (unix(7), SO_PEERCRED)."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(credentials)[0])


def _json(text: str) -> Mapping[str, str]:
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except RecursionError:
        raise ValueError("want a plain object") from None
    if not all(type(value) in {str, int} for _, value in pairs):
        raise ValueError("want nothing but strings and whole numbers")
    return _once([(name, str(value)) for name, value in pairs])


def _block(text: str) -> Mapping[str, str]:
    first, *rest = text.rstrip("\n").split("\n")
    lines = rest if _START.fullmatch(first) else [first, *rest]
    found = [_PAIR.fullmatch(line) for line in lines]
    if not all(found):
        raise ValueError("want JSON, or YAML of lines such as `pid: 123`")
    return _once([(pair[1], pair[2] or pair[3] or pair[4] or "") for pair in found if pair])


def _once(pairs: Sequence[tuple[str, Any]]) -> Mapping[str, str]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("want every key once")
    return fields
