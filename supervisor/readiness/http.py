"""Asking a generation over HTTP, by connections that go to it alone: whether it is well, and to warm it up.

HTTP itself is h11's, TLS is OpenSSL's without verification: the other end is a process that we have just started, and
its certificate names a public host.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import h11
from msgspec import Struct

from supervisor.errors import HostError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from supervisor.core.policy import HttpCheck, WarmUp
    from supervisor.linux.listener import Listener

_LARGEST_BODY = 64 * 1024
"""Bytes that are looked at; what comes after them is not read."""
_CHUNK = 16 * 1024
_AGAIN = 0.05
"""Seconds between two attempts at a connection while the server does not accept any."""


class NoAnswerError(Exception):
    """There was no whole answer; the message says what there was."""


class Reply(Struct, frozen=True):
    """A whole answer, or as much of its body as is looked at."""

    status: int
    body: bytes


class Warmth(Struct, frozen=True):
    """What came of warming a generation up."""

    answered: int
    failed: int
    """Requests without a whole answer, or with one of 500 and above."""


class Door(Struct, frozen=True):
    """Where a member is asked."""

    listener: Listener
    member: int
    tls: bool

    async def ask(self, path: str, headers: tuple[tuple[str, str], ...], within: float) -> Reply:
        """GET one path over a connection of its own, within so many seconds. Raises NoAnswerError."""
        try:
            async with asyncio.timeout(within):
                reader, writer = await self._connected()
                try:
                    return await _exchange(reader, writer, path, headers)
                finally:
                    writer.transport.abort()
        except TimeoutError:
            raise NoAnswerError(f"no answer within {within:g} s") from None
        except h11.RemoteProtocolError as wrong:
            raise NoAnswerError(f"its answer is not HTTP ({wrong})") from None
        except (OSError, HostError, EOFError) as broken:
            raise NoAnswerError(_why(broken)) from None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Who is connected is where it belongs, whatever the steering does from then on."""
        connection = self.listener.reach(self.member)
        try:
            await _established(connection)
        except BaseException:  # whatever it was, cancellation too, the connection must not stay open; it goes on up
            connection.close()
            raise
        finally:
            if self.member in self.listener.members:
                self.listener.unprobe()
        if not self.tls:
            return await asyncio.open_connection(sock=connection, limit=_CHUNK)
        return await asyncio.open_connection(sock=connection, limit=_CHUNK, ssl=_unverified(), server_hostname="")


async def well(door: Door, check: HttpCheck, tell: Callable[[str], None]) -> None:
    """Ask until it has answered as wanted so many times in a row. Ends only so, or by cancellation.

    `tell` gets in words what was wrong with the last answer, whenever that is another than before.
    """
    in_a_row, told = 0, ""
    while True:
        wrong = await fault(door, check)
        in_a_row = 0 if wrong else in_a_row + 1
        if in_a_row >= check.successes:
            return
        if wrong and wrong != told:
            tell(wrong)
            told = wrong
        await asyncio.sleep(check.interval)


async def warm_up(door: Door, wanted: WarmUp) -> Warmth:
    """Send the requests one after another, for so long as there is time. What is answered makes no difference."""
    answered = failed = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(wanted.timeout):
            for path in wanted.paths * wanted.rounds:
                try:
                    reply = await door.ask(path, wanted.headers, wanted.timeout)
                except NoAnswerError:
                    failed += 1
                    await asyncio.sleep(_AGAIN)
                    continue
                answered += 1
                failed += reply.status >= 500  # noqa: PLR2004 - RFC 9110, 15.6: the server's own fault
    return Warmth(answered, failed)


async def fault(door: Door, check: HttpCheck) -> str:
    """What is wrong with its answer; empty if nothing is."""
    about = f"GET {check.path} on {check.listener}"
    try:
        reply = await door.ask(check.path, check.headers, check.timeout)
    except NoAnswerError as none:
        return f"{about}: {none}"
    if not any(low <= reply.status <= high for low, high in check.statuses):
        return f"{about} was answered with status {reply.status}"
    if check.body is not None and re.search(check.body.encode(), reply.body) is None:
        return f"{about} was answered with status {reply.status} and without {check.body!r} in its body"
    return ""


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, headers: tuple[tuple[str, str], ...]
) -> Reply:
    http = h11.Connection(h11.CLIENT)
    given = {name.lower() for name, _ in headers}
    usual = (("host", "localhost"), ("user-agent", "gapless"), ("connection", "close"))
    request = h11.Request(
        method="GET", target=path, headers=[*(each for each in usual if each[0] not in given), *headers]
    )
    writer.write((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
    await writer.drain()
    status, body = 0, b""
    while len(body) < _LARGEST_BODY:
        match http.next_event():
            case h11.NEED_DATA:
                http.receive_data(await reader.read(_CHUNK))
            case h11.Response(status_code=code):
                status = code
            case h11.Data(data=data):
                body += data
            case h11.EndOfMessage():
                break
            case h11.InformationalResponse():
                pass
            case _:
                raise EOFError
    return Reply(status, body)


async def _established(connection: socket.socket) -> None:
    """Wait until it is. Raises OSError."""
    loop = asyncio.get_running_loop()
    writable = asyncio.Event()
    loop.add_writer(connection, writable.set)
    try:
        await writable.wait()
    finally:
        loop.remove_writer(connection)
    failed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if failed:
        raise OSError(failed, os.strerror(failed))


def _unverified() -> ssl.SSLContext:
    import ssl  # noqa: PLC0415 - most servers are asked in the clear, and OpenSSL is 5 MB

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _why(broken: Exception) -> str:
    match broken:
        case OSError(errno=errno.ECONNREFUSED):
            return "it refuses connections"
        case OSError(errno=errno.ECONNRESET) | EOFError():
            return "it closed the connection before its answer was whole"
        case OSError() if "SSL" in type(broken).__name__:
            return f"TLS failed ({getattr(broken, 'reason', None) or broken})"
        case OSError():
            return str(broken.strerror or broken)
        case _:
            return str(broken)
