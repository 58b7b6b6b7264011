"""A server that cannot run twice: the old one ends, then the new one starts on the same sockets, and clients wait."""

import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import builds
from tests.harness.load import Load
from tests.harness.supervisor import Supervisor, answer


@pytest.fixture
def exclusive(supervisor: Supervisor) -> Supervisor:
    supervisor.configure(
        handoff={"mode": "exclusive", "probation": "200ms"}, service={"command": [str(supervisor.current)]}
    )
    return supervisor


def never_two(supervisor: Supervisor) -> None:
    """The pids that ran, in order: each was gone before the next was let go."""
    living: set[int] = set()
    for event in supervisor.events("generation_started", "generation_down", "generation_ended"):
        if event["event"] == "generation_started":
            assert not living, f"{living} and {event['generation']} ran at one time"
            living.add(event["generation"])
        else:
            living.discard(event["generation"])


@pytest.mark.timeout(120)
def test_no_request_fails_while_the_server_is_upgraded(
    exclusive: Supervisor, load: Callable[..., Load], v1: Path, v2: Path
) -> None:
    exclusive.start(v1)
    running = load(exclusive, rate=300, mode="new")
    for number in range(1, 5):
        ended = exclusive.upgrade((v1, v2)[number % 2])
        assert (ended["from_generation"], ended["to_generation"]) == (number, number + 1)
    running.answered(50, version="v1")
    found = running.stop()
    found.no_failures()
    assert min(found.versions.values()) > 50
    never_two(exclusive)
    assert not exclusive.events("queue_reset", "generation_killed")
    assert exclusive.status()["queue_losses"] == {"migrated": 0, "reset": 0}


def test_a_client_that_comes_while_nobody_runs_is_served_by_the_next(exclusive: Supervisor, v1: Path) -> None:
    exclusive.start(v1)
    exclusive.use(builds.go_server("v3", "-start-delay 1s"))
    mark = exclusive.signal(signal.SIGHUP)
    exclusive.event("generation_down", mark, generation=1)
    assert answer(exclusive.ask()).version == "v3"
    assert exclusive.event("handoff_ended", mark)["result"] == "committed"
    phases = [each["phase"] for each in exclusive.events("phase", since=mark)]
    assert phases == ["verify", "yield", "start", "ready", "shift", "probation"]


def test_a_kept_connection_is_closed_with_a_word(exclusive: Supervisor, v1: Path, v2: Path) -> None:
    exclusive.start(v1)
    kept = exclusive.connect()
    assert b"Connection: close" not in _said(kept)
    exclusive.use(v2)
    mark = exclusive.signal(signal.SIGHUP)
    exclusive.event("phase", mark, phase="yield")
    while b"Connection: close" not in (said := _said(kept)):
        assert said, "it was closed without a word"  # the signal may be on its way yet, and then it is asked again
    assert exclusive.event("handoff_ended", mark)["result"] == "committed"


def _said(kept: socket.socket) -> bytes:
    kept.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    return kept.recv(65536)


def test_a_release_that_cannot_be_run_stops_nothing(exclusive: Supervisor, v1: Path) -> None:
    exclusive.start(v1)
    before = exclusive.get().pid
    ended = exclusive.hup("/nonexistent")
    assert (ended["result"], ended["reason"].partition(":")[0]) == ("refused", "bad release")
    assert exclusive.get().pid == before
    assert not exclusive.events("generation_told")


@pytest.mark.parametrize(
    ("baked", "said"),
    [
        ("-crash-at-start", "died before it was ready: exit status 3"),
        ("-never-ready", "not ready in time: nothing was heard of it in 0.5 s (ready.timeout)"),
        ("-never-ready -ignore-term", "not ready in time: nothing was heard of it in 0.5 s (ready.timeout)"),
        ("-crash-after 50ms", "died in probation: exit status 2"),
    ],
)
def test_a_bad_candidate_brings_the_old_release_back(
    exclusive: Supervisor, v1: Path, v2: Path, baked: str, said: str
) -> None:
    exclusive.may_trace = True
    exclusive.configure(ready={"timeout": "500ms"}, drain={"timeout": "1s"}, handoff={"probation": "5s"})
    exclusive.start(v1)
    ended = exclusive.hup(builds.go_server("broken", baked))
    assert (ended["result"], ended["reason"]) == ("rolled back", said)
    assert exclusive.get().version == "v1"
    assert exclusive.serving()["generation"] == 1
    never_two(exclusive)
    exclusive.configure(ready={"timeout": "20s"}, handoff={"probation": "0s"})
    exclusive.upgrade(v2)
    assert exclusive.get().version == "v2"


@pytest.mark.parametrize(
    ("what", "phase"), [("abort", "yield"), ("abort", "ready"), ("abort", "probation"), ("rollback", "probation")]
)
def test_what_is_undone_brings_the_old_release_back(
    exclusive: Supervisor, v1: Path, v2: Path, what: str, phase: str
) -> None:
    exclusive.configure(handoff={"probation": "60s"})
    if phase == "yield":
        exclusive.configure(drain={"timeout": "1s"})
    exclusive.start(builds.go_server("v1", "-ignore-term") if phase == "yield" else v1)
    exclusive.use(builds.go_server("broken", "-never-ready") if phase == "ready" else v2)
    mark = exclusive.signal(signal.SIGHUP)
    exclusive.event("phase", mark, phase=phase)
    done = exclusive.command(what)
    assert done.returncode == 0, done.stderr
    ended = exclusive.event("handoff_ended", mark)
    assert (ended["result"], ended["reason"]) == ("rolled back", "aborted")
    assert exclusive.get().version == "v1"
    assert exclusive.serving()["generation"] == 1
    never_two(exclusive)


def test_the_mode_of_the_new_configuration_counts(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.start(v1)
    supervisor.configure(handoff={"mode": "exclusive"})
    mark = supervisor.mark()
    supervisor.upgrade(v2)
    assert supervisor.events("phase", since=mark)[1]["phase"] == "yield"
    supervisor.configure(handoff={"mode": "overlap"})
    mark = supervisor.mark()
    supervisor.upgrade(v1)
    assert supervisor.events("phase", since=mark)[1]["phase"] == "start"


def test_other_listeners_are_refused_and_stop_nothing(exclusive: Supervisor, v1: Path, v2: Path) -> None:
    exclusive.start(v1)
    before = exclusive.get().pid
    exclusive.configure(listen=[{"name": "http", "address": "127.0.0.1:0"}, {"name": "b", "address": "127.0.0.1:0"}])
    ended = exclusive.hup(v2)
    assert ended["result"] == "refused"
    assert ended["reason"].startswith("the listeners have changed: ")
    assert exclusive.get().pid == before


def test_a_stop_while_the_old_one_makes_way(exclusive: Supervisor, v2: Path) -> None:
    exclusive.configure(drain={"timeout": "20s"}, stop={"timeout": "500ms"})
    exclusive.start(builds.go_server("v1", "-ignore-term"))
    exclusive.use(v2)
    mark = exclusive.signal(signal.SIGHUP)
    exclusive.event("phase", mark, phase="yield")
    assert exclusive.stop() == 6
    assert exclusive.event("handoff_ended", mark)["reason"] == "the service is stopping"
    assert not exclusive.left_behind()
