"""Clients that mean harm or know no better: they cost little, and nobody else notices."""

import resource
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random

import pytest

from supervisor.control.entrance import Entrance
from supervisor.control.server import Limits
from supervisor.errors import HostError
from tests.control.hostile import GET, LISTEN, WAIT, hostile
from tests.control.served import PATIENCE, Served, parsed, rest_of, said_to


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with Served(tmp_path / "control.sock", Limits(patience=2.0)) as server:
        yield server


def vanish(sock: socket.socket) -> None:
    """Close at once, whatever is unread."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_a_thousand_hostile_requests_leave_it_answering(served: Served, capfd: pytest.CaptureFixture[str]) -> None:
    random = Random(7)  # noqa: S311 - the same requests each time
    with ExitStack() as stack:
        for number in range(1000):
            sock = stack.enter_context(served.connected())
            with suppress(BrokenPipeError):
                sock.sendall(hostile(random))
            if number % 3 == 0:
                vanish(sock)
            if number % 100 == 0:
                assert served.get()[0] == 200
    assert served.get()[0] == 200
    assert "Traceback" not in "".join(capfd.readouterr())


def test_hundreds_at_once_are_answered_or_told_that_there_are_too_many(served: Served) -> None:
    with ExitStack() as stack:
        socks = [stack.enter_context(served.connected()) for _ in range(300)]
        for sock in socks:
            with suppress(BrokenPipeError):  # it was let go for a later one
                sock.sendall(GET)
        answers = [rest_of(sock) for sock in socks]
    assert sum(answer.startswith(b"HTTP/1.1 200") for answer in answers) >= 64
    assert served.get()[0] == 200


def test_who_does_nothing_makes_room_for_who_does(served: Served) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(served.connected())
        for _ in range(63):
            stack.enter_context(served.connected()).sendall(GET[:10])
        assert served.get()[0] == 200
        assert first.recv(1) == b"", "the one that was idle longest was let go"


def test_when_all_are_at_work_one_more_is_told_so(tmp_path: Path) -> None:
    with Served(tmp_path / "s", Limits(connections=2)) as served, ExitStack() as stack:
        busy = [stack.enter_context(served.connected()) for _ in range(2)]
        for sock in busy:
            sock.sendall(LISTEN)
            assert sock.recv(1000).startswith(b"HTTP/1.1 200")
        status, answer = served.get()
        assert (status, answer["error"]) == (503, "all 2 connections are at work: try again soon")
        busy[0].close()
        served.publish("x")
        while served.get()[0] == 503:  # until it has noticed
            pass


def test_listeners_are_limited_apart(tmp_path: Path) -> None:
    with Served(tmp_path / "s", Limits(listeners=1)) as served, served.connected() as sock:
        sock.sendall(LISTEN)
        assert sock.recv(1000).startswith(b"HTTP/1.1 200")
        assert parsed(served.say(LISTEN))[0] == 503
        assert served.get()[0] == 200


def test_a_listener_that_has_the_head_misses_nothing(served: Served) -> None:
    for number in range(100):
        with served.connected() as sock:
            sock.sendall(LISTEN)
            head = sock.recv(1000)
            served.publish("happened", number=number)
            while b"\n\n" not in head:
                head += sock.recv(1000)
            assert f'"number": {number}'.encode() in head


def test_a_listener_that_never_reads_costs_little_and_is_let_go(tmp_path: Path) -> None:
    with Served(tmp_path / "s", Limits(patience_with_listeners=0.5)) as served, served.connected() as sock:
        sock.sendall(LISTEN)
        sock.recv(1000)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(20_000):
            served.publish("noise", text="x" * 1000)
        assert served.get()[0] == 200
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000, "KB"
        gone = threading.Event()
        served.do(served.service.desk.publish, {"event": "last", "at": 1.0})
        while served.server._conversations and not gone.wait(0.01):
            pass
        assert b"last" not in rest_of(sock)


def test_a_listener_that_lags_is_told_that_it_was_cut_off(served: Served) -> None:
    with served.connected() as sock:
        sock.sendall(LISTEN)
        sock.recv(1000)

        def at_once() -> None:
            for _ in range(1001):
                served.service.desk.publish({"event": "noise", "at": 1.0})

        served.do(at_once)
        heard = rest_of(sock)
    assert heard.count(b"event: noise") == 1000
    assert heard.count(b"event: cut_off") == 1


def test_a_listener_that_talks_is_not_kept_in_memory(served: Served) -> None:
    with served.connected() as sock:
        sock.sendall(LISTEN)
        sock.recv(1000)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(100):
            sock.sendall(b"x" * 1_000_000)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000, "KB"
        served.publish("happened")
        assert b"happened" in sock.recv(1000)


def test_one_that_does_not_take_its_answer_is_let_go(served: Served) -> None:
    served.service.bulk = "x" * 2_000_000
    with served.connected() as sock:
        sock.sendall(GET * 4)
        while not served.server._conversations:
            pass
        while served.server._conversations:
            pass
        taken = len(rest_of(sock))
    assert 0 < taken < 2_000_000


def test_many_that_vanish_in_the_middle_of_the_answer(served: Served) -> None:
    served.service.bulk = "x" * 2_000_000
    for _ in range(100):
        with served.connected() as sock:
            sock.sendall(GET)
            assert sock.recv(10)
            vanish(sock)
    assert served.get()[0] == 200


def test_stopping_lets_answers_out_and_cuts_the_others_off(served: Served) -> None:
    with served.connected() as waits, served.connected() as idle, served.connected() as listens:
        waits.sendall(WAIT)
        listens.sendall(LISTEN)
        assert listens.recv(1000).startswith(b"HTTP/1.1 200")
        idle.sendall(GET[:9])
        assert served.get()[0] == 200
        while not served.service.asked:
            pass
        served.do(served.service.desk._close)
        served.end()
        status, answer = parsed(rest_of(waits))
        assert (status, answer["result"], answer["reason"]) == (200, "refused", "the supervisor ended")
        assert rest_of(idle) == b""
        assert rest_of(listens) == b"0\r\n\r\n"
    assert not served.path.exists()


def test_a_file_that_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(HostError, match="is no socket"):
        Entrance(path).open()
    assert path.read_text() == "data"


def test_a_living_supervisor_keeps_its_socket(served: Served) -> None:
    with pytest.raises(HostError, match="another process listens"):
        Entrance(served.path).open()
    assert served.get()[0] == 200


def test_what_a_dead_one_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    with Served(path, None) as served:
        assert served.get()[0] == 200


def test_a_socket_that_is_another_s_by_now_is_left(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with Served(path, None) as served:
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            served.end()
            assert path.is_socket()


def test_only_the_own_user_may_connect(served: Served) -> None:
    assert served.path.stat().st_mode & 0o777 == 0o600


def test_said_to_waits_no_longer_than_it_should(served: Served) -> None:
    with served.connected() as sock:
        assert sock.gettimeout() == PATIENCE
        assert parsed(said_to(sock, GET))[0] == 200
