"""The whole daemon, and a thousand hostile requests in the middle of a handoff."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random

import pytest

from tests.control.hostile import LISTEN, WAIT, hostile
from tests.control.served import PATIENCE
from tests.harness import builds
from tests.harness.output import DEADLINE
from tests.harness.supervisor import Supervisor


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path)
    yield made
    made.close()


def assail(supervisor: Supervisor, stack: ExitStack, times: int) -> None:
    random = Random(times)  # noqa: S311 - the same requests each time
    for _ in range(times):
        sock = stack.enter_context(socket.socket(socket.AF_UNIX))
        sock.settimeout(PATIENCE)
        sock.connect(str(supervisor.control))
        with suppress(BrokenPipeError):
            sock.sendall(hostile(random))


def test_the_handoff_does_not_notice(supervisor: Supervisor) -> None:
    supervisor.configure(handoff={"probation": "2s"})
    supervisor.start(builds.go_server("v1"))
    supervisor.use(builds.go_server("v2"))
    with ExitStack() as stack:
        answer = supervisor.client().call("POST", "/v1/upgrade")
        assail(supervisor, stack, 1000)
        assert supervisor.status()["pid"] == supervisor.pid
        assert supervisor.get().version == "v2"
    ended = supervisor.event("handoff_ended", request=answer["request"])
    assert ended["result"] == "committed"
    assert supervisor.stop() == 0


def test_those_who_ask_and_vanish_leave_no_trace(supervisor: Supervisor) -> None:
    supervisor.start(builds.go_server("v1"))
    for _ in range(5):
        with socket.socket(socket.AF_UNIX) as asks, socket.socket(socket.AF_UNIX) as listens:
            for sock, raw in ((asks, WAIT), (listens, LISTEN)):
                sock.connect(str(supervisor.control))
                sock.sendall(raw)
    mark = supervisor.mark()
    answer = supervisor.client().call("POST", "/v1/upgrade", wait=True)
    assert answer["result"] == "done"
    supervisor.event("handoff_ended", mark, DEADLINE, request=answer["request"])
    assert supervisor.stop() == 0
