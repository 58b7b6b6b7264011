"""The process that waits to become the next generation: used where it fits, and never in anybody's way."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from supervisor.engine.ahead import AFTER
from tests.harness import builds, proc

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.harness.load import Load
    from tests.harness.supervisor import Supervisor


@pytest.fixture(autouse=True)
def _short(supervisor: Supervisor) -> None:
    supervisor.configure(handoff={"probation": "50ms"})


def waits(supervisor: Supervisor, generation: int, since: int = 0) -> int:
    """Its pid, once it is there."""
    return int(supervisor.event("made_ahead", since, generation=generation)["pid"])


def test_it_becomes_the_next_generation_with_all_that_a_server_is_told(
    supervisor: Supervisor, v1: Path, v2: Path
) -> None:
    supervisor.configure(service={"environment": {"PLAIN": "1", "a.b": "2"}})
    supervisor.start(v1)
    for number, server in ((2, v2), (3, v1)):
        pid = waits(supervisor, number)
        assert supervisor.upgrade(server)["to_generation"] == number
        assert supervisor.pid_of(number) == pid == supervisor.get().pid
        assert os.readlink(f"/proc/{pid}/exe") == str(server)  # noqa: PTH115 - as it is
        told = proc.environment(pid)
        assert told["GAPLESS_RELEASE"] == supervisor.serving()["release"]["id"]
        assert told["LISTEN_PID"] == str(pid)
        assert (told["GAPLESS_GENERATION"], told["PLAIN"], told["a.b"]) == (str(number), "1", "2")


def test_clients_never_reach_what_it_holds(
    supervisor: Supervisor, load: Callable[..., Load], v1: Path, v2: Path
) -> None:
    """Frozen, so that whatever came to it would stay there."""
    supervisor.start(v1)
    supervisor.event("generation_ended", generation=supervisor.upgrade(v2)["from_generation"])
    pid = waits(supervisor, 3)
    proc.stop(pid)
    running = load(supervisor, rate=1000)
    running.answered(2000)
    running.stop().no_failures()
    supervisor.upgrade(v1)
    assert supervisor.get().pid == pid, "it is woken when it is wanted"


def test_one_that_is_killed_is_missed_by_nobody(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.start(v1)
    pid = waits(supervisor, 2)
    os.kill(pid, signal.SIGKILL)
    supervisor.event("made_ahead_died")
    assert proc.reaps_all(supervisor.pid, 20)
    supervisor.upgrade(v2)
    assert supervisor.get().version == "v2"
    supervisor.upgrade(v1)
    assert supervisor.get().version == "v1"


def test_one_that_does_not_fit_is_ended(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.start(v1)
    pid = waits(supervisor, 2)
    supervisor.configure(service={"environment": {"NEW": "1"}})
    supervisor.upgrade(v2)
    new = supervisor.pid_of(2)
    assert new != pid
    assert proc.gone(pid, 20)
    assert proc.environment(new)["NEW"] == "1"
    assert supervisor.get().version == "v2"
    assert waits(supervisor, 3)
    assert supervisor.upgrade(v1)["to_generation"] == 3
    assert supervisor.get().version == "v1"


def test_a_listener_more_makes_it_another(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.start(v1)
    pid = waits(supervisor, 2)
    more = {"name": "more", "address": "127.0.0.1:0"}
    supervisor.configure(listen=[*supervisor.tables["listen"], more])
    supervisor.upgrade(v2)
    assert supervisor.pid_of(2) != pid
    assert proc.gone(pid, 20)
    pid = waits(supervisor, 3)
    supervisor.upgrade(v1)
    assert supervisor.pid_of(3) == pid
    assert proc.environment(pid)["LISTEN_FDS"] == "2"


def test_one_whose_socket_somebody_has_removed_is_not_used(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.start(v1)
    pid = waits(supervisor, 2)
    path = Path(proc.environment(pid)["NOTIFY_SOCKET"])
    path.unlink()
    supervisor.upgrade(v2)
    assert supervisor.pid_of(2) != pid
    assert path.is_socket()


def test_other_dialects_are_spoken_by_another(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.start(v1)
    pid = waits(supervisor, 2)
    supervisor.configure(service={"dialects": ["einhorn"]})
    supervisor.upgrade(v2)
    assert supervisor.pid_of(2) != pid
    assert Path(proc.environment(supervisor.pid_of(2))["EINHORN_SOCK_PATH"]).is_socket()
    pid = waits(supervisor, 3)
    supervisor.upgrade(v1)
    assert supervisor.get().pid == pid
    assert proc.environment(pid)["EINHORN_MASTER_PID"] == str(supervisor.pid)


@pytest.mark.parametrize(
    "tables",
    [
        {"handoff": {"ahead": False}},
        {"handoff": {"mode": "exclusive"}},
        {"service": {"environment": {"not.ascii": "\u00e9"}}},
        {"service": {"stdout": "output"}},
    ],
    ids=["not wanted", "exclusive", "not ASCII", "to a file"],
)
def test_where_none_is_of_use_there_is_none(
    supervisor: Supervisor, v1: Path, v2: Path, tables: dict[str, dict[str, object]]
) -> None:
    if "stdout" in tables.get("service", {}):
        tables = {"service": {"stdout": str(supervisor.folder / "output")}}
    supervisor.configure(**tables)
    supervisor.start(v1)
    threading.Event().wait(2 * AFTER)
    assert proc.children(supervisor.pid) == [supervisor.pid_of(1)]
    supervisor.upgrade(v2)
    assert supervisor.get().version == "v2"
    assert not supervisor.events("made_ahead")


def test_a_refused_upgrade_leaves_it_and_a_failed_one_has_another_made(
    supervisor: Supervisor, v1: Path, v2: Path
) -> None:
    supervisor.start(v1)
    pid = waits(supervisor, 2)
    supervisor.use(supervisor.folder / "nothing")
    assert supervisor.command("upgrade").returncode == 4
    supervisor.use(builds.go_server("broken", "-crash-at-start"))
    mark = supervisor.mark()
    assert supervisor.command("upgrade").returncode == 3
    assert supervisor.pid_of(2) == pid
    pid = waits(supervisor, 3, mark)
    supervisor.upgrade(v2)
    assert supervisor.get().pid == pid


def test_it_goes_with_who_it_is_to_follow_and_comes_again(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    """A server that is down lends its sockets to the next: who has others would be of no use."""
    supervisor.start(v1)
    pid = waits(supervisor, 2)
    mark = supervisor.mark()
    os.kill(supervisor.pid_of(1), signal.SIGKILL)
    assert proc.gone(pid, 20)
    pid = waits(supervisor, 2, mark)
    assert proc.environment(supervisor.pid_of(1))["NOTIFY_SOCKET"].endswith("notify-1.2.sock")
    supervisor.upgrade(v2)
    assert supervisor.get().pid == pid
    assert not supervisor.events("made_ahead_died")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT, signal.SIGKILL])
def test_it_ends_with_the_supervisor(supervisor: Supervisor, v1: Path, number: signal.Signals) -> None:
    supervisor.start(v1)
    pid = waits(supervisor, 2)
    supervisor.signal(number)
    supervisor.ended()
    assert proc.gone(pid, 20)


def test_a_service_that_stops_has_none_any_more(supervisor: Supervisor, v1: Path) -> None:
    supervisor.start(v1)
    pid = waits(supervisor, 2)
    with supervisor.ask("/slow?ms=60000"):
        supervisor.event("generation_told", supervisor.signal(signal.SIGTERM))
        assert proc.gone(pid, 20)
        assert supervisor.lives()
    assert supervisor.ended() == 0


def test_the_next_supervisor_has_one_of_its_own(
    supervisor: Supervisor, load: Callable[..., Load], v1: Path, v2: Path
) -> None:
    supervisor.start(v1)
    running = load(supervisor, rate=500)
    for number, server in ((2, v2), (3, v1), (4, v2)):
        waits(supervisor, number)
        mark = supervisor.mark()
        supervisor.taken_over()
        pid = waits(supervisor, number, mark)
        supervisor.upgrade(server)
        assert supervisor.pid_of(number) == pid
    running.answered(100)
    running.stop().no_failures()


def test_a_supervisor_that_replaces_itself_leaves_none_behind(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.start(v1)
    pid = waits(supervisor, 2)
    mark = supervisor.mark()
    assert supervisor.command("reexec").returncode == 0
    supervisor.event("taken_over", mark)
    assert proc.gone(pid, 20)
    assert proc.reaps_all(supervisor.pid, 20)
    pid = waits(supervisor, 2, mark)
    supervisor.upgrade(v2)
    assert supervisor.get().pid == pid
