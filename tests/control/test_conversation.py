"""The HTTP conversation: what a well-meant client may do, and how every fault is told."""

import http.client
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.control.api import Terms
from supervisor.control.server import Limits
from tests.control.served import Served, parsed, rest_of, said_to

GET = b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"
ABORT = b"POST /v1/abort HTTP/1.1\r\nHost: x\r\n"
UPGRADE = b"POST /v1/upgrade HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with Served(tmp_path / "control.sock", Limits(patience=1.0)) as server:
        yield server


def test_requests_in_one_piece_are_answered_in_order(served: Served) -> None:
    answers = served.say(GET + GET.replace(b"status", b"history") + GET)
    assert answers.count(b"HTTP/1.1 200") == 3
    assert answers.index(b'"pid"') < answers.index(b'"handoffs"') < answers.rindex(b'"pid"')


def test_a_request_that_comes_byte_by_byte_is_answered(served: Served) -> None:
    with served.connected() as sock:
        for at in range(len(GET)):
            sock.sendall(GET[at : at + 1])
        assert parsed(said_to(sock, b""))[0] == 200


def test_a_chunked_body_is_read(served: Served) -> None:
    raw = UPGRADE + b'Transfer-Encoding: chunked\r\n\r\n8\r\n{"wait":\r\n6\r\n false\r\n1\r\n}\r\n0\r\n\r\n'
    assert parsed(served.say(raw)) == (202, {"request": "r0"})


def test_head_is_get_without_the_body(served: Served) -> None:
    with served.connected() as sock:
        answer = said_to(sock, GET.replace(b"GET", b"HEAD") + GET)
    first, _, second = answer.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200")
    assert b"content-length: 0" not in first
    assert second.startswith(b"HTTP/1.1 200"), "the connection goes on after it"


def test_head_of_the_events_ends_at_once(served: Served) -> None:
    answer = served.say(b"HEAD /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"text/event-stream" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_one_who_waits_to_be_told_to_continue_is_told(served: Served) -> None:
    with served.connected() as sock:
        sock.sendall(UPGRADE + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 100 ")
        assert parsed(said_to(sock, b"{}"))[0] == 202


def test_http_1_0_is_answered_and_closed(served: Served) -> None:
    with served.connected() as sock:
        sock.sendall(b"GET /v1/status HTTP/1.0\r\n\r\n")
        assert parsed(rest_of(sock))[0] == 200


def test_one_connection_serves_many_requests(served: Served) -> None:
    with served.connected() as sock:
        client = http.client.HTTPConnection("x")
        client.sock = sock
        for _ in range(50):
            client.request("GET", "/v1/status")
            assert json.loads(client.getresponse().read())["pid"]


@pytest.mark.parametrize(
    ("raw", "status", "sentence"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "not HTTP"),
        (b"GET /v1/status HTTP/1.1\r\n\r\n", 400, "Host"),
        (GET[:-2] + b"a: " + b"x" * 60_000 + b"\r\n\r\n", 431, "not HTTP"),
        (UPGRADE + b"Content-Length: 1, 2\r\n\r\n{}", 400, "Content-Length"),
        (UPGRADE + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400, "Content-Length"),
        (UPGRADE + b"Transfer-Encoding: gzip\r\n\r\n", 501, "Transfer-Encoding"),
        (UPGRADE + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "chunk"),
        (UPGRADE + b"Content-Length: 99999999\r\n\r\n" + b"x" * 300_000, 413, "65536"),
        (UPGRADE + b"Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n", 413, "65536"),
        (UPGRADE + b"Content-Length: 1\r\n\r\n{", 400, "not JSON"),
        (UPGRADE + b"Content-Length: 2\r\n\r\n\xff\xfe", 400, "not JSON"),
        (UPGRADE + b"Content-Length: 2\r\n\r\n[]", 400, "object"),
        (UPGRADE + b"Content-Length: 50000\r\n\r\n" + b"[" * 50_000, 400, "deeply"),
        (UPGRADE + b"Content-Length: 10\r\n\r\n" + b'{"wait":1}', 400, "wait"),
        (UPGRADE + b"Content-Length: 9\r\n\r\n" + b'{"wate":1', 400, "not JSON"),
        (
            UPGRADE + b"Content-Length: 10\r\n\r\n" + b'{"wate":1}',
            400,
            "wate is not known to /v1/upgrade: send an object with wait or request or if_current or release",
        ),
        (UPGRADE + b"Content-Length: 14\r\n\r\n" + b'{"request":""}', 400, "request is to be 1 to 64"),
        (UPGRADE + b"Content-Length: 16\r\n\r\n" + b'{"request":"a/"}', 400, "request is to be 1 to 64"),
        (UPGRADE + b"Content-Length: 13\r\n\r\n" + b'{"request":1}', 400, "request is to be 1 to 64"),
        (UPGRADE + b"Content-Length: 17\r\n\r\n" + b'{"if_current":""}', 400, "if_current is to be a release"),
        (
            ABORT + b"Content-Length: 15\r\n\r\n" + b'{"request":"a"}',
            400,
            "request is not known to /v1/abort: send an object with wait, or no body",
        ),
        (GET.replace(b"GET", b"DELETE"), 405, "takes GET"),
        (GET.replace(b"GET", b"CONNECT"), 405, "takes GET"),
        (GET.replace(b"/v1/status", b"/" + b"a" * 9000), 404, "/v1/status"),
        (GET.replace(b"/v1/status", b"/v1/status/../stop"), 404, "/v1/stop"),
        (UPGRADE + b"Content-Length: 20\r\n\r\n{", 408, "not whole"),
        (b"GET /v1/st", 408, "not whole"),
    ],
)
def test_every_fault_is_told_in_a_sentence(served: Served, raw: bytes, status: int, sentence: str) -> None:
    with served.connected() as sock:
        if status == 408:
            sock.sendall(raw)
        found, answer = parsed(rest_of(sock) if status == 408 else said_to(sock, raw))
    assert found == status, answer
    assert list(answer) == ["error"]
    assert sentence in answer["error"]
    assert len(answer["error"]) < 400
    assert served.service.asked == []
    assert served.get()[0] == 200


def test_a_request_that_is_cut_off_is_answered_as_far_as_it_can_be(served: Served) -> None:
    served.say(UPGRADE + b"Content-Length: 20\r\n\r\n{")
    served.say(b"GET /v1/st")
    served.say(b"")
    assert served.service.asked == []
    assert served.get()[0] == 200


def test_an_upgrade_of_the_protocol_is_not_taken(served: Served) -> None:
    raw = GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert parsed(served.say(raw))[0] == 200


def test_a_bug_behind_one_request_is_told_and_reaches_no_other(
    served: Served, capfd: pytest.CaptureFixture[str]
) -> None:
    served.service.fails = True
    status, answer = served.get()
    assert (status, "RuntimeError: a bug" in answer["error"]) == (500, True)
    served.service.fails = False
    assert served.get()[0] == 200
    assert "Traceback" not in "".join(capfd.readouterr())


def test_the_one_who_waits_is_told_what_came_of_it(served: Served) -> None:
    with served.connected() as sock, served.connected() as other:
        sock.sendall(UPGRADE + b'Content-Length: 13\r\n\r\n{"wait":true}')
        assert parsed(said_to(other, GET))[0] == 200
        served.do(served.service.desk._answer, "r0", "done")
        assert parsed(said_to(sock, b"")) == (200, {"request": "r0", "result": "done"})


def test_what_a_request_says_of_itself_is_handed_on(served: Served) -> None:
    body = b'{"request":"deploy-7.1_a","if_current":"v1"}'
    status, answer = parsed(served.say(UPGRADE + b"Content-Length: %d\r\n\r\n" % len(body) + body))
    assert (status, answer) == (202, {"request": "deploy-7.1_a"})
    assert served.service.terms == [Terms("deploy-7.1_a", "v1")]
    assert [(peer.uid, peer.pid) for peer in served.service.peers] == [(os.getuid(), os.getpid())]
