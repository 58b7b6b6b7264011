"""A release that fails too often after its commit is gone back from, and is not taken again."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.handoff.blame import blame
from tests.harness import builds, proc
from tests.harness.load import Load
from tests.harness.output import DEADLINE, Event
from tests.harness.supervisor import Supervisor

TWICE = {"after": 2}


def crash(supervisor: Supervisor, generation: int, times: int = 1) -> int:
    """It dies so often, each time as soon as it serves again; the mark from before the last time."""
    mark = supervisor.mark()
    for each in range(times):
        if each:
            supervisor.event("generation_ready", mark, generation=generation)
        mark = supervisor.mark()
        os.kill(supervisor.pid_of(generation), signal.SIGKILL)
    return mark


def fallen_back(supervisor: Supervisor, v1: Path, v2: Path, **rollback: Any) -> Event:  # noqa: ANN401 - JSON
    """The service has gone back from v2, generation 2, to v1: the end of that handoff."""
    supervisor.configure(rollback={**TWICE, **rollback})
    supervisor.start(v1)
    supervisor.upgrade(v2)
    ended = supervisor.event("handoff_ended", crash(supervisor, 2, 2), handoff=2)
    assert ended["result"] == "committed", ended
    assert supervisor.get().version == "v1"
    return ended


def begun_again(supervisor: Supervisor) -> int:
    """Supervisor and servers have been killed, and it is started again: the mark from before."""
    pids = [each["pid"] for each in supervisor.status()["generations"] if each["pid"]]
    kept = supervisor.kill()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        proc.gone(pid, DEADLINE)
    mark = supervisor.mark()
    supervisor.spawn(says=kept)
    supervisor.event("generation_ready", mark)
    return mark


@pytest.mark.timeout(180)
def test_under_load_it_is_gone_back_from_and_costs_what_died_with_it_alone(
    supervisor: Supervisor, load: Callable[..., Load], v1: Path
) -> None:
    bad = builds.go_server("v2", "-crash-after=400ms")
    supervisor.configure(rollback={"after": 3}, restart={"delay": "50ms"})
    supervisor.start(v1)
    good = supervisor.serving()["release"]["id"]
    running = load(supervisor, rate=400)
    running.answered(100, "v1")
    mark = supervisor.mark()
    supervisor.upgrade(bad)
    began = supervisor.event("handoff_began", mark, handoff=2)
    assert (began["ask"], began["way"], began["uid"]) == ("fallback", "deaths", None)
    assert began["because"].startswith("it failed 3 times within ")
    assert began["because"].endswith(" s, in the end: exit status 2")
    ended = supervisor.event("handoff_ended", mark, handoff=2)
    assert (ended["result"], ended["to_release"]) == ("committed", good)
    assert supervisor.event("quarantine_began", mark)["lasts"] == 86400
    running.answered(200, "v1")
    found = running.stop()
    sorted_out = blame(supervisor, found)
    assert not sorted_out.others, sorted_out.others[:10]
    assert len(supervisor.events("generation_down", since=mark)) == 3
    assert supervisor.history()[-1]["ask"] == "fallback"


def test_it_is_refused_by_hup_by_name_and_as_a_copy(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    left = fallen_back(supervisor, v1, v2)["from_release"]
    for refused in (supervisor.hup(), supervisor.hup(shutil.copy(v2, supervisor.folder / "copy"))):
        assert refused["result"] == "refused"
        said = str(refused["reason"])
        assert said.startswith(f"in quarantine: {left} since ")
        assert ", for 24 h more, because it failed 2 times within " in said
        assert said.endswith(f"in the end: killed by SIGKILL; `gapless quarantine lift {left}` ends that")
    named = supervisor.command("rollback", left)
    assert named.returncode == 4
    assert "in quarantine: " in named.stderr
    assert supervisor.get().version == "v1"
    assert supervisor.status()["runs_by"] == "record"
    assert f"in quarantine: {left}, because it failed" in supervisor.command("status").stdout


def test_nor_is_it_taken_by_a_start_until_it_is_lifted(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    left = fallen_back(supervisor, v1, v2)["from_release"]
    mark = begun_again(supervisor)
    kept = supervisor.event("quarantine_kept", mark)
    assert left in kept["reason"]
    assert supervisor.get().version == "v1"
    assert supervisor.status()["runs_by"] == "record"
    assert supervisor.hup()["result"] == "refused"
    assert left in supervisor.command("quarantine", "list").stdout
    (listed,) = supervisor.client().call("GET", "/v1/quarantine")["quarantine"]
    assert listed["until"] - listed["since"] == pytest.approx(86400)
    unknown = supervisor.command("quarantine", "lift", "v7")
    assert unknown.returncode == 4
    assert f"v7 is not in quarantine: those that are: {left}" in unknown.stderr
    assert supervisor.command("quarantine", "lift", listed["sha256"][:12]).stdout == f"{left} may be started again\n"
    assert supervisor.event("quarantine_ended", mark)["how"] == "lifted"
    assert "no release is in quarantine" in supervisor.command("quarantine").stdout
    supervisor.upgrade(v2)
    assert supervisor.get().version == "v2"


def test_it_is_over_when_its_time_has_come(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    fallen_back(supervisor, v1, v2, quarantine="1500ms")
    assert supervisor.event("quarantine_ended")["how"] == "lapsed"
    supervisor.upgrade(v2)


def test_a_supervisor_that_follows_knows_of_failures_and_quarantine(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.configure(rollback={"after": 2, "quarantine": "0s"})
    supervisor.start(v1)
    supervisor.upgrade(v2)
    supervisor.event("generation_ready", crash(supervisor, 2), generation=2)
    supervisor.taken_over()
    mark = crash(supervisor, 2)
    assert supervisor.event("handoff_ended", mark)["result"] == "committed"
    supervisor.taken_over()  # which may tell the end of 2 once more
    refused = supervisor.event("handoff_ended", supervisor.signal(signal.SIGHUP), handoff=3)
    assert refused["result"] == "refused"
    assert ", until it is lifted, because " in refused["reason"]


def test_who_hangs_too_often_is_gone_back_from_instead_of_replaced(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.configure(rollback={"after": 1}, health={"watchdog": "500ms"}, drain={"timeout": "1s"})
    supervisor.start(v1)
    supervisor.upgrade(v2)
    mark = supervisor.mark()
    proc.stop(supervisor.pid_of(2))
    began = supervisor.event("handoff_began", mark)
    assert began["ask"] == "fallback"
    assert began["because"] == "it failed once within 0 s, in the end: hung: no WATCHDOG=1 for 0.5 s"
    assert supervisor.event("handoff_ended", mark)["result"] == "committed"
    assert supervisor.get().version == "v1"


def test_two_bad_ones_do_not_send_it_back_and_forth(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    fallen_back(supervisor, v1, v2)
    mark = crash(supervisor, 3, 2)
    stuck = supervisor.event("no_good_release", mark, generation=3)
    assert stuck["failures"] == 2
    supervisor.event("generation_ready", mark, generation=3)
    assert not supervisor.events("handoff_began", since=mark)
    assert supervisor.get().version == "v1"


def test_where_the_last_good_one_is_gone_the_restarts_go_on(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    copy = supervisor.folder / "copy"
    shutil.copy(v1, copy)
    supervisor.configure(rollback=TWICE)
    supervisor.start(copy)
    supervisor.upgrade(v2)
    copy.unlink()
    mark = crash(supervisor, 2, 2)
    ended = supervisor.event("handoff_ended", mark)
    assert (ended["result"], "cannot be returned to" in ended["reason"]) == ("refused", True)
    supervisor.event("no_good_release", mark)
    supervisor.event("generation_ready", mark, generation=2)
    assert supervisor.get().version == "v2"
    assert not supervisor.events("quarantine_began")


def test_where_nobody_is_left_to_begin_with_it_is_begun_all_the_same(
    supervisor: Supervisor, v1: Path, v2: Path
) -> None:
    copy = supervisor.folder / "copy"
    shutil.copy(v1, copy)
    left = fallen_back(supervisor, copy, v2)["from_release"]
    copy.unlink()
    mark = begun_again(supervisor)
    waived = supervisor.event("quarantine_waived", mark)
    assert waived["release"] == left
    assert "cannot be returned to" in waived["reason"]
    assert supervisor.get().version == "v2"


def test_who_is_told_to_end_or_is_recycled_does_not_fail(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.configure(
        rollback={"after": 1}, recycle={"age": "300ms"}, health={"delay": "10ms"}, drain={"timeout": "1s"}
    )
    supervisor.start(v1)
    supervisor.upgrade(v2)
    mark = supervisor.mark()
    for _ in range(2):
        mark = supervisor.event("handoff_ended", mark).index + 1
    assert {each["ask"] for each in supervisor.history()} == {"upgrade", "replace"}
    assert not supervisor.events("quarantine_began", "no_good_release")
