"""What serves is looked after: whoever hangs, fails its probe, grows too large or old is replaced."""

import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.handoff.test_readiness import python_server
from tests.harness import builds, proc
from tests.harness.load import Load
from tests.harness.supervisor import Supervisor, answer

TALKS = """
signal.signal(signal.SIGUSR1, lambda *_: say("WATCHDOG=trigger"))
signal.signal(signal.SIGUSR2, lambda *_: say("WATCHDOG=1"))
if os.path.exists("{broken}"):
    sys.exit(3)
say("READY=1")
serve()
"""


def hangs(supervisor: Supervisor, generation: int = 1) -> int:
    """It stands still from now on: the mark from before."""
    mark = supervisor.mark()
    proc.stop(supervisor.pid_of(generation))
    return mark


@pytest.mark.timeout(120)
def test_a_hung_server_is_replaced_under_load_and_only_what_it_holds_is_lost(
    supervisor: Supervisor, load: Callable[..., Load], v1: Path, v2: Path
) -> None:
    supervisor.configure(health={"watchdog": "500ms"}, drain={"timeout": "2s"})
    supervisor.start(v1)
    running = load(supervisor, rate=600)
    running.answered(200)
    supervisor.use(v2)  # nobody has asked for that one
    first = supervisor.pid_of(1)
    mark = hangs(supervisor)
    assert supervisor.event("generation_ailing", mark)["reason"] == "hung: no WATCHDOG=1 for 0.5 s"
    began = supervisor.event("handoff_began", mark)
    assert (began["ask"], began["way"], began["uid"]) == ("replace", "health", None)
    ready = supervisor.event("generation_ready", mark, generation=2)
    ended = supervisor.event("handoff_ended", mark)
    assert ended["result"] == "committed"
    assert ended["to_release"] == ended["from_release"]
    gone = supervisor.event("generation_ended", mark, generation=1)
    assert gone["exit"] == "killed by SIGKILL"
    assert ready.index < supervisor.event("generation_told", mark, generation=1).index, "nobody is ended first"
    running.answered(200, "v1")
    found = running.stop()
    held = {each.port for each in supervisor.connection_log() if each.pid == first}
    (entry,) = supervisor.history()
    held |= set(entry["report"]["drain"]["reset_ports"])
    lost = [each for each in found.failures if each.port not in held]
    assert len(lost) <= 1, lost  # accepted in the very instant, and not written down
    assert (entry["ask"], entry["because"]) == ("replace", "hung: no WATCHDOG=1 for 0.5 s")


def test_who_is_told_of_a_watchdog_is_told_for_itself_alone(supervisor: Supervisor, v1: Path) -> None:
    supervisor.start(v1)
    assert "WATCHDOG_USEC" not in proc.environment(supervisor.pid_of(1))
    supervisor.configure(health={"watchdog": "20s"})
    supervisor.upgrade(v1)
    told = proc.environment(supervisor.pid_of(2))
    assert (told["WATCHDOG_USEC"], told["WATCHDOG_PID"]) == ("20000000", str(supervisor.pid_of(2)))


def test_who_has_never_sent_a_ping_is_not_taken_to_hang(supervisor: Supervisor) -> None:
    supervisor.configure(health={"watchdog": "50ms"})
    supervisor.start(python_server(supervisor, "say('READY=1')\nserve()"))
    supervisor.upgrade()
    supervisor.upgrade()
    assert not supervisor.events("generation_ailing")


def test_who_is_watched_and_is_silent_wakes_nobody_up(supervisor: Supervisor) -> None:
    supervisor.configure(health={"watchdog": "100ms"}, recycle={"age": "1h"})
    supervisor.start(python_server(supervisor, "say('READY=1')\nserve()"))
    pause = threading.Event()
    pause.wait(1.5)  # what is written and hashed a moment later
    before = proc.switches(supervisor.pid)
    pause.wait(2.0)
    assert proc.switches(supervisor.pid) == before


def test_a_server_may_set_its_watchdog_itself(supervisor: Supervisor) -> None:
    supervisor.configure(health={"watchdog": "1h"})
    body = "say('READY=1')\nsay('WATCHDOG=1')\nsay('WATCHDOG_USEC=200000')\nserve()"
    supervisor.start(python_server(supervisor, body))
    assert supervisor.event("generation_ailing")["reason"] == "hung: no WATCHDOG=1 for 0.2 s"
    assert supervisor.event("handoff_ended")["result"] == "committed"


def test_a_server_may_do_without_its_watchdog(supervisor: Supervisor) -> None:
    supervisor.configure(health={"watchdog": "1h"})
    body = "say('WATCHDOG_USEC=1000')\nsay('WATCHDOG_USEC=0')\nsay('WATCHDOG=1')\nsay('READY=1')\nserve()"
    supervisor.start(python_server(supervisor, body))
    supervisor.upgrade()
    supervisor.upgrade()
    assert not supervisor.events("generation_ailing")


def test_a_candidate_that_hangs_on_probation_is_gone_back_from(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.configure(health={"watchdog": "400ms"}, handoff={"probation": "60s"}, drain={"timeout": "1s"})
    supervisor.start(v1)
    supervisor.use(v2)
    mark = supervisor.signal(signal.SIGHUP)
    supervisor.event("phase", mark, phase="probation")
    hangs(supervisor, 2)
    ended = supervisor.event("handoff_ended", mark)
    assert (ended["result"], ended["reason"]) == ("rolled back", "hung: no WATCHDOG=1 for 0.4 s")
    assert supervisor.get().version == "v1"
    assert supervisor.event("generation_ended", mark, generation=2)["exit"] == "killed by SIGKILL"


def test_if_no_copy_gets_ready_the_old_one_stays_and_it_is_tried_again_ever_later(supervisor: Supervisor) -> None:
    broken = supervisor.folder / "broken"
    supervisor.configure(health={"watchdog": "1h", "delay": "200ms", "longest": "400ms"})
    supervisor.start(python_server(supervisor, "import signal" + TALKS.format(broken=broken)))
    broken.touch()
    pid, mark = supervisor.pid_of(1), supervisor.mark()
    os.kill(pid, signal.SIGUSR1)
    assert supervisor.event("generation_ailing", mark)["reason"] == "hung: it says so itself (WATCHDOG=trigger)"
    supervisor.event("replacement_due", mark, tried=4)
    waits = [each["in"] for each in supervisor.events("replacement_due", since=mark)]
    assert waits[:4] == [0.2, 0.4, 0.4, 0.4]
    results = {each["result"] for each in supervisor.events("handoff_ended", since=mark)}
    assert results == {"rolled back"}
    assert not [each for each in supervisor.events("generation_told", since=mark) if each["generation"] == 1]
    assert supervisor.serving()["ailment"] == "hung: it says so itself (WATCHDOG=trigger)"
    os.kill(pid, signal.SIGUSR2)
    well = supervisor.event("generation_well", mark)
    supervisor.event("handoff_ended", mark, handoff=len(supervisor.history()))  # one may be under way
    assert supervisor.serving()["pid"] == pid
    broken.unlink()
    os.kill(pid, signal.SIGUSR1)
    assert supervisor.event("handoff_ended", well.index, result="committed")["from_generation"] == 1


def test_a_file_that_was_replaced_is_not_run_in_its_name(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    pinned = supervisor.folder / "server"
    shutil.copy(v1, pinned)
    supervisor.configure(health={"watchdog": "400ms", "delay": "1h", "longest": "1h"})
    supervisor.start(pinned)
    shutil.copy(v2, supervisor.folder / "new")
    (supervisor.folder / "new").replace(pinned)
    ended = supervisor.event("handoff_ended", hangs(supervisor))
    assert ended["result"] == "refused"
    assert "has changed since it served" in ended["reason"]
    waiting = supervisor.client().call("GET", "/v1/explain")["waiting"]
    assert "it is to be replaced (hung: no WATCHDOG=1 for 0.4 s)" in waiting[0]["why"]
    assert supervisor.upgrade(v2)["from_generation"] == 1, "who is asked decides"


@pytest.mark.parametrize(
    ("probe", "reason"),
    [
        ({"probe": "accept"}, "failed its health probe: it accepted no connection on {address} within 0.3 s"),
        (
            {"probe": "http", "http": {"path": "/healthz"}},
            "failed its health probe: GET /healthz on http: no answer within 0.3 s",
        ),
    ],
    ids=["accept", "http"],
)
def test_who_fails_its_probe_is_replaced(supervisor: Supervisor, v1: Path, probe: dict[str, Any], reason: str) -> None:
    supervisor.configure(
        health={"interval": "50ms", "timeout": "300ms", "failures": 2, **probe}, drain={"timeout": "1s"}
    )
    supervisor.start(v1)
    mark = hangs(supervisor)
    assert supervisor.event("generation_ailing", mark)["reason"] == reason.format(address=supervisor.address)
    assert supervisor.event("handoff_ended", mark)["result"] == "committed"
    assert supervisor.get().pid == supervisor.pid_of(2)
    supervisor.event("generation_ended", mark, generation=1)
    assert not supervisor.events("queue_reset"), "probes are nobody's loss"


def test_who_is_too_large_is_recycled_and_not_without_end(supervisor: Supervisor, v1: Path) -> None:
    supervisor.configure(recycle={"memory": "1MiB"}, health={"delay": "1h", "longest": "1h"})
    supervisor.start(v1)
    ended = supervisor.event("handoff_ended")
    assert (ended["result"], ended["to_generation"]) == ("committed", 2)
    ailing = supervisor.event("generation_ailing", generation=1)
    assert ailing["reason"].startswith("uses more memory than it may: ")
    assert ailing["level"] == "info"
    due = supervisor.event("replacement_due", generation=2)
    assert 3590 < due["in"] <= 3600
    assert supervisor.serving()["doing"].startswith("to be replaced: uses more memory")


def test_who_is_old_is_recycled_again_and_again(supervisor: Supervisor, v1: Path) -> None:
    supervisor.configure(recycle={"age": "400ms"}, health={"delay": "1ms", "longest": "1h"})
    supervisor.start(v1)
    for number in (1, 2, 3):
        ended = supervisor.event("handoff_ended", handoff=number)
        assert (ended["result"], ended["to_generation"]) == ("committed", number + 1)
    assert not [each for each in supervisor.events("replacement_due") if each["tried"] > 1]


def test_exclusively_who_hangs_ends_first_and_clients_wait(supervisor: Supervisor, v1: Path) -> None:
    supervisor.configure(health={"watchdog": "400ms"}, handoff={"mode": "exclusive"}, drain={"timeout": "600ms"})
    supervisor.start(v1)
    mark = hangs(supervisor)
    waiting = [supervisor.ask() for _ in range(10)]
    assert supervisor.event("handoff_ended", mark)["result"] == "committed"
    assert {answer(each).pid for each in waiting} == {supervisor.pid_of(2)}


def test_copies_that_hang_too_are_replaced_ever_later(supervisor: Supervisor) -> None:
    supervisor.configure(
        health={"watchdog": "200ms", "delay": "100ms", "longest": "1h"},
        drain={"timeout": "200ms"},
    )
    supervisor.start(builds.go_server("hangs", "-hang-after=50ms"))
    supervisor.event("handoff_ended", handoff=3)
    began = [each["timestamp"] for each in supervisor.events("handoff_began")]
    assert len(began) >= 3
    assert [each["tried"] for each in supervisor.events("replacement_due")] == sorted(
        {each["tried"] for each in supervisor.events("replacement_due")}
    )


def test_a_server_that_was_taken_back_is_looked_after_as_before(supervisor: Supervisor, v1: Path) -> None:
    supervisor.configure(health={"watchdog": "700ms"}, drain={"timeout": "1s"})
    supervisor.start(v1)
    assert (
        answer(supervisor.ask("/slow?ms=1000")).status == 200
    )  # it has pinged meanwhile, so that it is known to do so
    supervisor.taken_over()
    mark = hangs(supervisor)
    assert supervisor.event("generation_ailing", mark)["generation"] == 1
    assert supervisor.event("handoff_ended", mark)["result"] == "committed"
    assert supervisor.get().pid == supervisor.pid_of(2)


def test_a_supervisor_that_was_held_up_itself_takes_nobody_for_hung(supervisor: Supervisor, v1: Path) -> None:
    supervisor.configure(health={"watchdog": "500ms"})
    supervisor.start(v1)
    for _ in range(3):
        waits = supervisor.ask("/slow?ms=1500")
        proc.stop(supervisor.pid)
        assert answer(waits).status == 200  # as long as this takes the server pings and nobody hears it
        os.kill(supervisor.pid, signal.SIGCONT)
        assert answer(supervisor.ask("/slow?ms=700")).status == 200
    assert not supervisor.events("generation_ailing")
