"""The control socket's server. HTTP is h11's; here are the limits, and the way from a request to its row."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

import h11
import structlog

from supervisor.control.api import TABLE, Answer, BadRequestError, Call, body_of
from supervisor.control.auth import peer_of
from supervisor.errors import HostError

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor.control.api import Endpoint, Service
    from supervisor.control.auth import Peer

_log = structlog.get_logger()

_LARGEST_BODY = 64 * 1024
_LARGEST_HEAD = 16 * 1024
_PATIENCE = 10.0
"""Seconds that a client may take to send a whole request."""
_MOST_CONNECTIONS = 64
_CHUNK = 16 * 1024


class ControlServer:
    """Answers on one Unix socket."""

    def __init__(self, path: Path, service: Service) -> None:
        self.path = path
        self._service = service
        self._open = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Bind and listen. Raises HostError.

        A socket file that a dead supervisor left is replaced: the lock on the service's state says that it is dead.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            self.path.unlink(missing_ok=True)
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            listening.bind(str(self.path))
            self.path.chmod(0o600)
            self._server = await asyncio.start_unix_server(self._connected, sock=listening, limit=_CHUNK)
        except OSError as refused:
            raise HostError(f"cannot open the control socket {self.path}: {refused.strerror or refused}") from refused

    async def stop(self) -> None:
        """Stop answering, and leave no file."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(OSError):
            self.path.unlink()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._open += 1
        try:
            peer = peer_of(writer.get_extra_info("socket"))
            await _Conversation(reader, writer, peer, self._service).hold(busy=self._open > _MOST_CONNECTIONS)
        except (ConnectionError, TimeoutError, h11.ProtocolError):
            pass  # the client went away or was told what is wrong: there is nobody left to tell
        finally:
            self._open -= 1
            writer.close()


class _Conversation:
    """One connection: a request, its answer, and perhaps the next."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer, service: Service
    ) -> None:
        self._reader, self._writer = reader, writer
        self._peer, self._service = peer, service
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGEST_HEAD)

    async def hold(self, *, busy: bool) -> None:
        """Answer until the client has gone."""
        while True:
            try:
                async with asyncio.timeout(_PATIENCE):
                    request = await self._next()
                    if not isinstance(request, h11.Request):
                        return
                    body = await self._body()
            except h11.RemoteProtocolError as wrong:
                await self._answer(Answer(wrong.error_status_hint, {"error": f"this is not HTTP/1.1: {wrong}"}))
                return
            if body is None:
                await self._answer(Answer(413, {"error": f"a body has at most {_LARGEST_BODY} bytes"}))
                return
            await self._answer(_too_busy() if busy else await self._respond(request, body))
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def _next(self) -> Any:  # noqa: ANN401 - h11 has a class for each event, and no common one to name
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            self._http.receive_data(await self._reader.read(_CHUNK))

    async def _body(self) -> bytes | None:
        parts, size = [], 0
        while not isinstance(event := await self._next(), h11.EndOfMessage):
            if not isinstance(event, h11.Data):
                raise ConnectionError
            size += len(event.data)
            if size > _LARGEST_BODY:
                return None
            parts.append(bytes(event.data))
        return b"".join(parts)

    async def _respond(self, request: h11.Request, body: bytes) -> Answer:
        method, path = request.method.decode(), request.target.decode(errors="replace").partition("?")[0]
        if not self._peer.trusted:
            _log.warning("control_refused", path=path, uid=self._peer.uid, pid=self._peer.pid)
            return Answer(403, {"error": f"uid {self._peer.uid} may not do this: only root and the daemon's own user"})
        found = [row for row in TABLE if row.path == path]
        row = next((row for row in found if row.method == method), None)
        if row is None:
            return _not_there(method, path, found)
        try:
            return await row.handle(Call(self._service, self._peer, body_of(row, body)))
        except BadRequestError as wrong:
            return Answer(400, {"error": str(wrong)})

    async def _answer(self, answer: Answer) -> None:
        if answer.stream is not None:
            await self._stream(answer)
            return
        data = json.dumps(answer.body).encode() + b"\n"
        headers = [("content-type", "application/json"), ("content-length", str(len(data)))]
        if self._http.their_state is h11.ERROR:
            headers.append(("connection", "close"))
        await self._send(h11.Response(status_code=answer.status, headers=headers), h11.Data(data=data))
        await self._send(h11.EndOfMessage())

    async def _stream(self, answer: Answer) -> None:
        """Server-sent events (WHATWG HTML, 9.2), until the client goes."""
        assert answer.stream is not None  # noqa: S101 - asked just before
        headers = [("content-type", "text/event-stream"), ("cache-control", "no-store"), ("connection", "close")]
        await self._send(h11.Response(status_code=answer.status, headers=headers))
        gone = asyncio.ensure_future(self._reader.read())
        try:
            async with aclosing(answer.stream) as events:
                async for event in _until(gone, events):
                    await self._send(h11.Data(data=f"event: {event['event']}\ndata: {json.dumps(event)}\n\n".encode()))
            await self._send(h11.EndOfMessage())
        finally:
            gone.cancel()

    async def _send(self, *events: h11.Event) -> None:
        for event in events:
            data = self._http.send(event)
            if data:
                self._writer.write(data)
        async with asyncio.timeout(_PATIENCE):
            await self._writer.drain()


async def _until(gone: asyncio.Future[bytes], events: Any) -> Any:  # noqa: ANN401 - an async generator of dicts
    """What happens, until the client has gone: it would not be noticed otherwise before something is written."""
    while True:
        following = asyncio.ensure_future(anext(events))
        await asyncio.wait({gone, following}, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            return
        try:
            yield following.result()
        except StopAsyncIteration:
            return


def _too_busy() -> Answer:
    return Answer(503, {"error": f"{_MOST_CONNECTIONS} connections are open already: close one"})


def _not_there(method: str, path: str, found: list[Endpoint]) -> Answer:
    if found:
        return Answer(405, {"error": f"{path} takes {' or '.join(row.method for row in found)}, not {method}"})
    known = ", ".join(row.path for row in TABLE)
    return Answer(404, {"error": f"there is no {path}; there are {known}"})
