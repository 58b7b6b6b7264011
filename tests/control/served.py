"""A control server in a thread of its own, with a service behind it that does what a test says; and raw clients."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import uvloop

from supervisor.control.desk import Desk, as_event
from supervisor.control.entrance import Entrance
from supervisor.control.server import ControlServer, Limits
from supervisor.core.access import Access, Admission
from supervisor.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping
    from pathlib import Path

    from supervisor.control.api import Terms
    from supervisor.linux.peer import Peer

PATIENCE = 20.0


@dataclass
class Remembers:
    """A witness that keeps what it is told."""

    told: list[tuple[Any, ...]] = field(default_factory=list)

    def asked(self, command: str, peer: Peer, access: Access, body: Mapping[str, Any]) -> str:
        self.told.append(("asked", command, peer.uid, access, dict(body)))
        return f"c{len(self.told)}"

    def answered(self, call: str, command: str, status: int, answer: object) -> None:
        self.told.append(("answered", call, command, status, answer))

    def refused(self, what: str, peer: Peer, access: Access, needs: Access) -> None:
        self.told.append(("refused", what, peer.uid, access, needs))


class Pretended:
    """A service that remembers what it was asked, on the loop's thread."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.witness = Remembers()
        self.asked: list[str] = []
        self.terms: list[Terms] = []
        self.peers: list[Peer] = []
        """Who asked for it, or to stop."""
        self.stopped = 0
        self.bulk = ""
        self.fails = False

    @property
    def done(self) -> int:
        """How much was asked of it that is no question."""
        return len(self.peers)

    def status(self) -> dict[str, Any]:
        if self.fails:
            raise RuntimeError("a bug")
        return {"pid": os.getpid(), "bulk": self.bulk}

    def explain(self) -> list[dict[str, Any]]:
        return [{"what": "service", "why": "nothing waits", "since": None, "until": None}]

    def history(self, limit: int) -> list[dict[str, Any]]:
        return [{"limit": limit}]

    def served(self) -> list[dict[str, Any]]:
        return []

    def ask(self, what: str, peer: Peer, terms: Terms) -> tuple[str, asyncio.Future[dict[str, Any]]]:
        self.peers.append(peer)
        request = terms.request or f"r{len(self.asked)}"
        self.asked.append(what)
        self.terms.append(terms)
        return request, self.desk.wait(request, what)

    def quarantine(self) -> list[dict[str, Any]]:
        return [{"id": "v2+1"}]

    def lift(self, name: str, peer: Peer) -> str:
        assert peer.pid == os.getpid()
        if name != "v2":
            raise OperatorError(f"{name} is not in quarantine")
        return "v2+1"

    def stop(self, peer: Peer) -> None:
        self.peers.append(peer)
        self.stopped += 1

    async def reexec(self) -> None:
        raise OperatorError("not today")

    def happenings(self) -> AsyncGenerator[dict[str, Any], None]:
        return self.desk.happenings()


class Served:
    """The server as a test sees it."""

    def __init__(self, path: Path, limits: Limits | None, admission: Admission | None = None) -> None:
        self.path = path
        self.entrance = Entrance(path, admission)
        self.service: Pretended
        self.server: ControlServer
        self.complaints: list[dict[str, Any]] = []
        """What reached the event loop's own handler: nothing should."""
        self._limits = limits
        self._loop: asyncio.AbstractEventLoop
        self._ready = threading.Event()
        self._thread = threading.Thread(target=uvloop.run, args=(self._run(),), daemon=True)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(lambda _, context: self.complaints.append(context))
        self._over = asyncio.Event()
        self.service = Pretended()
        self.server = ControlServer(self.entrance, self.service, self._limits)
        await self.server.start()
        self._ready.set()
        await self._over.wait()
        await self.server.stop()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        assert self.complaints == []

    def end(self) -> None:
        self.do(self._over.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def do(self, what: Any, *arguments: Any) -> None:  # noqa: ANN401 - any call
        """Have it done on the server's thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(what, *arguments)

    def publish(self, name: str, **fields: Any) -> None:  # noqa: ANN401 - JSON
        self.do(self.service.desk.publish, as_event(name, 1.0, fields))

    @contextmanager
    def connected(self) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(str(self.path))
            yield sock

    def say(self, raw: bytes) -> bytes:
        """Say it and stop sending; all that comes back until the server closes."""
        with self.connected() as sock:
            return said_to(sock, raw)

    def get(self, path: str = "/v1/status") -> tuple[int, Any]:
        return self.ask("GET", path)

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        return parsed(self.say(head.encode() + body))


def said_to(sock: socket.socket, raw: bytes) -> bytes:
    try:
        sock.sendall(raw)
        sock.shutdown(socket.SHUT_WR)
    except BrokenPipeError:
        pass  # it has heard enough; what it had to say about that is there to be read
    return rest_of(sock)


def rest_of(sock: socket.socket) -> bytes:
    """All that still comes."""
    parts = []
    try:
        while part := sock.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass  # it closed with something of ours unread
    return b"".join(parts)


def parsed(answer: bytes) -> tuple[int, Any]:
    """Status and JSON of one answer, whatever its framing says."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(body)
