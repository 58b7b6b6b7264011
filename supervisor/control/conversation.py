"""One connection to the control socket: requests, each with its answer. HTTP itself is h11's.

Bounded in everything: the head, the body, the time for either, and what is kept for a client that does not read.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import h11
import structlog

from supervisor.control.api import TABLE, Answer, BadRequestError, Call, body_of
from supervisor.core.access import Access
from supervisor.linux.peer import NOBODY

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from supervisor.control.api import Endpoint, Service
    from supervisor.control.entrance import Entrance

_log = structlog.get_logger()

_LARGEST_BODY = 64 * 1024
_LARGEST_HEAD = 16 * 1024
_LINGER = 1.0
"""Seconds that one who was told of a fault may take to read it. Closed at once, its own writing would fail first."""
_LONGEST_SHOWN = 100

CHUNK = 16 * 1024


class Conversation:
    """One connection, until either side has had enough."""

    def __init__(
        self,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        service: Service,
        entrance: Entrance,
        patience: float,
    ) -> None:
        self.peer = NOBODY
        self.idle = True
        """Nothing is being done for it."""
        self.listens = False
        """It is being told of events."""
        self.last = False
        """The answer that it is being given is the last one."""
        self.since = time.monotonic()
        """When it last became idle."""
        self._reader, self._writer = streams
        self._service, self._entrance, self._patience = service, entrance, patience
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGEST_HEAD)
        self._asked = b""
        # What is written has left us when drain() returns: nothing is kept for a client that does not read.
        self._writer.transport.set_write_buffer_limits(high=0)

    @property
    def access(self) -> Access:
        """What the one on the other end may do just now: it may have changed since the last request."""
        return self._entrance.access(self.peer)

    def drop(self) -> None:
        """Close it, whatever it was about."""
        self._writer.transport.abort()

    async def hold(self, listening: Callable[[], float | None]) -> None:
        """Answer until the client has gone. `listening` gives its patience to one who wants to listen, or None."""
        while await self._one(listening) and not self.last:
            self._http.start_next_cycle()
            self.idle, self.since = True, time.monotonic()

    async def turn_away(self, why: str) -> None:
        """Tell it so whatever it wants, and close."""
        self.idle = False
        await self._answer(_fault(503, why))
        await self._linger()

    async def _one(self, listening: Callable[[], float | None]) -> bool:
        """One request and its answer; whether there may be another."""
        received = await self._request()
        if received is None:
            return False
        self.idle = False
        answer = received if isinstance(received, Answer) else await self._respond(*received)
        if answer.stream is None:
            await self._answer(answer)
        elif (patience := listening()) is None:
            await answer.stream.aclose()
            await self._answer(_fault(503, "too many listen to events already: let one of them go"))
        else:
            await self._stream(answer, answer.stream, patience)
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            return True
        await self._linger()
        return False

    # ---- what the client says

    async def _request(self) -> tuple[h11.Request, bytes] | Answer | None:
        """The next request with its body; what to answer if it is none; None once the client has gone."""
        try:
            async with asyncio.timeout(self._patience):
                request = await self._next()
                if not isinstance(request, h11.Request):
                    return None
                self._asked = request.method
                body = await self._body() if _announced(request) <= _LARGEST_BODY else None
        except h11.RemoteProtocolError as wrong:
            return _fault(wrong.error_status_hint, f"this is not HTTP as it should be: {_short(str(wrong))}")
        except TimeoutError:
            if self._http.their_state is h11.IDLE and not self._http.trailing_data[0]:
                return None
            return _fault(408, f"the request was not whole after {self._patience:g} s: send it in one go")
        if body is None:
            return _fault(413, f"a body has at most {_LARGEST_BODY} bytes")
        return request, body

    async def _next(self) -> Any:  # noqa: ANN401 - h11 has a class for each event, and no common one to name
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._http.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(await self._reader.read(CHUNK))

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

    # ---- what it is answered

    async def _respond(self, request: h11.Request, body: bytes) -> Answer:
        method, path = request.method.decode(), request.target.decode(errors="replace").partition("?")[0]
        found = [row for row in TABLE if row.path == path]
        wanted = "GET" if method == "HEAD" else method
        row = next((row for row in found if row.method == wanted), None)
        needs = Access.VIEWER if row is None else row.needs
        if self.access < needs:
            return self._refuse(_short(method), _short(path), needs)
        if row is None:
            return _not_there(method, path, found)
        try:
            call = Call(self._service, self.peer, body_of(row, body))
        except BadRequestError as wrong:
            return _fault(400, str(wrong))
        if not row.commands:
            return await _handled(row, call)
        witness = self._service.witness
        name = witness.asked(row.name, self.peer, self.access, call.body)
        answer = await _handled(row, call)
        witness.answered(name, row.name, answer.status, answer.body)
        return answer

    def _refuse(self, method: str, path: str, needs: Access) -> Answer:
        """One who may not. What is there and what is not is nobody's business who may do nothing at all."""
        what, peer, role = f"{method} {path}", self.peer, self.access.role
        self._service.witness.refused(what, peer, self.access, needs)
        has = f"has the role {role}" if self.access else "has none"
        sentence = f"{what} takes the role {needs.role}, and uid {peer.uid} {has}: see [control] {needs.role}s"
        return Answer(403, {"error": sentence, "needs": needs.role, "peer": self._entrance.found(peer)})

    async def _answer(self, answer: Answer) -> None:
        if self._http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        data = json.dumps(answer.body).encode() + b"\n"
        headers = [("content-type", "application/json"), ("content-length", str(len(data))), *answer.headers]
        if self._http.their_state not in {h11.DONE, h11.MUST_CLOSE}:
            headers.append(("connection", "close"))
        body = [] if self._asked == b"HEAD" else [h11.Data(data=data)]
        reason = HTTPStatus(answer.status).phrase
        response = h11.Response(status_code=answer.status, headers=headers, reason=reason)
        async with asyncio.timeout(self._patience):
            await self._send(response, *body, h11.EndOfMessage())

    async def _stream(self, answer: Answer, stream: AsyncGenerator[dict[str, Any], None], patience: float) -> None:
        """Server-sent events (WHATWG HTML, 9.2), until the client goes. It has gone when it stops sending."""
        headers = [("content-type", "text/event-stream"), ("cache-control", "no-store"), ("connection", "close")]
        self.listens = True
        async with aclosing(stream) as events:
            first = asyncio.ensure_future(anext(events))
            gone = asyncio.ensure_future(self._gone())
            try:
                await asyncio.sleep(0)  # it listens from here on: whoever has the head misses nothing
                await self._send(h11.Response(status_code=answer.status, headers=headers))
                if self._asked != b"HEAD":
                    await self._tell(_until(gone, first, events), patience)
                await self._send(h11.EndOfMessage())
            finally:
                await _cancel(gone, first)

    async def _tell(self, happenings: AsyncGenerator[dict[str, Any], None], patience: float) -> None:
        async with aclosing(happenings):
            async for event in happenings:
                if not self.access:
                    return
                async with asyncio.timeout(patience):
                    await self._send(h11.Data(data=_as_sent(event)))

    async def _gone(self) -> None:
        """Wait for the client's end. What it says meanwhile is not for us, and not kept."""
        with suppress(OSError):
            while await self._reader.read(CHUNK):
                pass

    async def _send(self, *events: h11.Event) -> None:
        data = b"".join(self._http.send(event) or b"" for event in events)
        if data:
            self._writer.write(data)
        await self._writer.drain()

    async def _linger(self) -> None:
        """Let the client read what it was told before the connection is closed under it."""
        if self._http.their_state in {h11.DONE, h11.MUST_CLOSE, h11.CLOSED}:
            return
        self.idle, self.since = True, time.monotonic()
        with suppress(OSError, TimeoutError, RuntimeError):
            self._writer.write_eof()
            async with asyncio.timeout(min(_LINGER, self._patience)):
                await self._gone()


async def _handled(row: Endpoint, call: Call) -> Answer:
    try:
        return await row.handle(call)
    except BadRequestError as wrong:
        return _fault(400, str(wrong))
    except Exception as bug:  # noqa: BLE001 - whatever it is, it is to end here and not in the event loop
        what = f"{type(bug).__name__}: {bug}"
        _log.error("control_failed", path=row.path, what=what)
        return _fault(500, f"a fault of gapless itself, please report it: {what}")


async def _until(
    gone: asyncio.Future[None], first: asyncio.Future[dict[str, Any]], events: AsyncGenerator[dict[str, Any], None]
) -> AsyncGenerator[dict[str, Any], None]:
    """What happens, until the client has gone: it would not be noticed otherwise before something is written."""
    following: asyncio.Future[Any] = first
    waiting: asyncio.Future[Any] = gone
    try:
        while True:
            await asyncio.wait((waiting, following), return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                return
            try:
                yield following.result()
            except StopAsyncIteration:
                return
            following = asyncio.ensure_future(anext(events))
    finally:
        await _cancel(following)


async def _cancel(*futures: asyncio.Future[Any]) -> None:
    for each in futures:
        each.cancel()
    await asyncio.gather(*futures, return_exceptions=True)


def _announced(request: h11.Request) -> int:
    """The length that the body is said to have. h11 has seen to its being a number."""
    return int(dict(request.headers).get(b"content-length", b"0"))


def _as_sent(event: dict[str, Any]) -> bytes:
    return f"event: {event['event']}\ndata: {json.dumps(event)}\n\n".encode()


def _fault(status: int, sentence: str) -> Answer:
    return Answer(status, {"error": sentence})


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"


def _not_there(method: str, path: str, found: list[Endpoint]) -> Answer:
    if found:
        takes = " or ".join(row.method for row in found)
        sentence = f"{path} takes {takes}, not {_short(method)}"
        return Answer(405, {"error": sentence}, headers=(("allow", ", ".join(row.method for row in found)),))
    known = ", ".join(row.path for row in TABLE)
    return _fault(404, f"there is no {_short(path)}; there are {known}")
