"""Asking a generation over HTTP, on real sockets and with a real server of either generation."""

import asyncio
import contextlib
import http.server
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from supervisor.core.policy import HttpCheck, WarmUp
from supervisor.core.value import replace
from supervisor.linux.address import TcpAddress
from supervisor.linux.tcp import TcpListener
from supervisor.readiness.http import Door, NoAnswerError, Warmth, warm_up, well

CHECK = HttpCheck(listener="http", path="/healthz", interval=0.01)


class Server(http.server.ThreadingHTTPServer):
    """Serves on a member's socket, and answers as it is told."""

    def __init__(self, listener: TcpListener, member: int, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("", 0), Handler, bind_and_activate=False)
        self.socket.close()
        copy = listener.socket(member).dup()
        self.socket = context.wrap_socket(copy, server_side=True) if context else copy
        self.answers: list[tuple[int, bytes]] = [(200, b"well")]
        """The last one is given again and again."""
        self.asked: list[tuple[str, str | None]] = []

    @contextlib.contextmanager
    def serving(self) -> Iterator["Server"]:
        thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["X-Probe"]))
        status, body = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        self.send_response(status)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[TcpListener]:
    """Steered to 1; 2 is the candidate."""
    with closing(TcpListener.open(TcpAddress.parse("127.0.0.1:0", name="http"))) as opened:
        opened.join(1)
        opened.steer(1)
        opened.join(2)
        yield opened


def asked(door: Door, check: HttpCheck = CHECK, within: float = 5.0) -> list[str]:
    """Wait until it is well; what was told meanwhile."""
    told: list[str] = []

    async def ask() -> None:
        async with asyncio.timeout(within):
            await well(door, check, told.append)

    asyncio.run(ask())
    return told


def test_the_candidate_is_asked_and_nobody_else(listener: TcpListener) -> None:
    with Server(listener, 1).serving() as old, Server(listener, 2).serving() as new:
        old.answers = [(500, b"")]
        assert asked(Door(listener, 2, tls=False), replace(CHECK, headers=(("X-Probe", "yes"),))) == []
        assert new.asked == [("/healthz", "yes")]
        assert old.asked == []


def test_it_counts_what_is_wanted_in_a_row_and_tells_each_fault_once(listener: TcpListener) -> None:
    with Server(listener, 2).serving() as new:
        new.answers = [(503, b""), (503, b""), (200, b"well"), (200, b"ill"), (203, b"well"), (200, b"well")]
        told = asked(Door(listener, 2, tls=False), replace(CHECK, body="^well$", successes=2, statuses=((200, 204),)))
        assert told == [
            "GET /healthz on http was answered with status 503",
            "GET /healthz on http was answered with status 200 and without '^well$' in its body",
        ]
        assert len(new.asked) == 6


def test_a_server_that_does_not_answer_is_told_of_and_asked_again(listener: TcpListener) -> None:
    door = Door(listener, 2, tls=False)

    async def ask() -> str:
        fault: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(5):
            waiting = asyncio.ensure_future(well(door, replace(CHECK, timeout=0.05), fault.set_result))
            told = await fault
            with Server(listener, 2).serving():
                await waiting
        return told

    assert asyncio.run(ask()) == "GET /healthz on http: no answer within 0.05 s"


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "its answer is not HTTP"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
            "it closed the connection before its answer was whole|not HTTP",
        ),
        (b"", "it closed the connection before its answer was whole|not HTTP"),
    ],
)
def test_what_is_no_answer_is_told_so(listener: TcpListener, said: bytes, fault: str) -> None:
    def answer() -> None:
        connection, _ = listener.socket(2).accept()
        connection.recv(4096)
        connection.sendall(said)
        connection.close()

    threading.Thread(target=answer, daemon=True).start()
    with pytest.raises(NoAnswerError, match=fault):
        asyncio.run(Door(listener, 2, tls=False).ask("/", (), 5))


def test_a_large_answer_is_not_read_to_its_end(listener: TcpListener) -> None:
    with Server(listener, 2).serving() as new:
        new.answers = [(200, b"x" * 10_000_000)]
        reply = asyncio.run(Door(listener, 2, tls=False).ask("/", (), 5))
        assert 64 * 1024 <= len(reply.body) < 200_000


def test_tls_is_not_verified(listener: TcpListener, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    command = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=elsewhere -days 1 -keyout {key}"
    subprocess.run(["openssl", *command.split(), "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Server(listener, 2, context).serving() as new:
        assert asked(Door(listener, 2, tls=True)) == []
        assert len(new.asked) == 1
        with pytest.raises(NoAnswerError):
            asyncio.run(Door(listener, 2, tls=False).ask("/", (), 5))


def test_warming_up_sends_every_request_and_minds_no_answer(listener: TcpListener) -> None:
    wanted = WarmUp(listener="http", paths=("/", "/search"), rounds=3)
    with Server(listener, 2).serving() as new:
        new.answers = [(500, b""), (404, b""), (200, b"")]
        assert asyncio.run(warm_up(Door(listener, 2, tls=False), wanted)) == Warmth(answered=6, failed=1)
        assert [path for path, _ in new.asked] == ["/", "/search"] * 3


def test_warming_up_ends_when_its_time_is_over(listener: TcpListener) -> None:
    wanted = WarmUp(listener="http", paths=("/",), rounds=1000, timeout=0.1)
    warmth = asyncio.run(warm_up(Door(listener, 2, tls=False), wanted))
    assert warmth.answered == 0
