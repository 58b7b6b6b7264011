"""Asking a real supervisor: what is printed where, and how each request ends."""

import json
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cli.asked import GAPLESS, failed, gapless, on_terminal
from tests.harness import builds
from tests.harness.builds import ROOT
from tests.harness.output import DEADLINE
from tests.harness.supervisor import Supervisor


def asking(supervisor: Supervisor, *words: str) -> subprocess.Popen[str]:
    """A command at work."""
    return subprocess.Popen(
        [*GAPLESS, *words, "--socket", str(supervisor.control)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_upgrade_tells_each_phase_in_plain_lines(supervisor: Supervisor) -> None:
    found = supervisor.command("upgrade")
    assert (found.returncode, found.stderr) == (0, "")
    assert "\x1b" not in found.stdout
    lines = found.stdout.splitlines()
    lines = lines[: [line.startswith("done") for line in lines].index(True) + 1]  # behind it: what it cost, if anything
    assert all(re.match(r" *[0-9.]+ s  \S", line) for line in lines[:-1]), lines
    assert any("on probation" in line for line in lines)
    told = [float(line.split()[0]) for line in lines[:-1]]
    assert told == sorted(told)
    says = [line.partition(" s  ")[2] for line in lines]
    assert says.index("generation 2: ready") < says.index("generation 2: sending it new connections")
    assert re.match(r"done in [0-9.]+ s: generation 2 serves \S+$", lines[-1])


def test_upgrade_is_live_on_a_terminal(supervisor: Supervisor) -> None:
    status, written = on_terminal("upgrade", "--socket", str(supervisor.control))
    assert status == 0
    assert "\x1b[" in written
    assert "✓" in written
    assert "generation 2 serves" in written


def test_upgrade_for_machines_is_one_object(supervisor: Supervisor) -> None:
    found = supervisor.command("upgrade", "--json")
    answer = json.loads(found.stdout)
    assert (found.returncode, found.stderr) == (0, "")
    assert (answer["result"], answer["from_generation"], answer["to_generation"]) == ("done", 1, 2)


def test_one_who_does_not_wait_is_told_the_request(supervisor: Supervisor) -> None:
    found = supervisor.command("upgrade", "--no-wait", "--json")
    assert found.returncode == 0
    supervisor.event("handoff_ended", request=json.loads(found.stdout)["request"], result="committed")


def test_one_who_waits_for_the_drain_sees_the_old_one_gone(supervisor: Supervisor) -> None:
    old = supervisor.pid_of(1)
    with supervisor.ask("/slow?ms=1500"):
        found = supervisor.command("upgrade", "--wait-drain")
    assert found.returncode == 0
    assert "generation 1 is finishing" in found.stdout
    with pytest.raises(ProcessLookupError):
        os.kill(old, 0)


def test_a_candidate_that_dies_is_3(supervisor: Supervisor) -> None:
    supervisor.use(builds.go_server("v3", "-crash-at-start"))
    found = supervisor.command("upgrade")
    assert found.returncode == 3
    assert found.stderr.count("\n") == 1
    assert found.stderr.startswith("rolled back: died before it was ready: exit status 3")
    assert "generation 1 serves" in found.stderr


def test_a_bad_release_is_4(supervisor: Supervisor) -> None:
    supervisor.use("/nonexistent")
    found = supervisor.command("upgrade")
    assert found.returncode == 4
    assert found.stderr.startswith("refused: bad release: ")
    assert found.stderr.count("\n") == 1


def test_a_bad_configuration_is_4(supervisor: Supervisor) -> None:
    supervisor.configure(ready={"timeout": 3})
    found = supervisor.command("upgrade", "--json")
    assert found.returncode == 4
    assert "ready.timeout = 3: want it in quotes" in json.loads(found.stdout)["reason"]


def test_nothing_to_go_back_to_is_4(supervisor: Supervisor) -> None:
    assert supervisor.command("rollback").returncode == 4
    assert supervisor.command("abort").returncode == 4


def test_rollback_goes_back(supervisor: Supervisor) -> None:
    assert supervisor.command("upgrade").returncode == 0
    found = supervisor.command("rollback")
    assert (found.returncode, found.stderr) == (0, "")
    assert supervisor.get().version == "v1"


def test_abort_in_probation_is_3_for_one_and_0_for_the_other(supervisor: Supervisor) -> None:
    supervisor.configure(handoff={"probation": "30s"})
    with asking(supervisor, "upgrade") as upgrade:
        supervisor.event("phase", phase="probation")
        abort = supervisor.command("abort", "--wait-drain")
        _, complaint = upgrade.communicate(timeout=DEADLINE)
    assert (abort.returncode, abort.stderr) == (0, "")
    assert "generation 1 serves" in abort.stdout
    assert upgrade.returncode == 3
    assert complaint.startswith("rolled back: aborted")
    assert [each["generation"] for each in supervisor.status()["generations"]] == [1]


def test_rollback_in_probation_goes_back_at_once(supervisor: Supervisor) -> None:
    supervisor.configure(handoff={"probation": "30s"})
    assert supervisor.command("upgrade", "--no-wait").returncode == 0
    supervisor.event("phase", phase="probation")
    found = supervisor.command("rollback", "--wait-drain")
    assert (found.returncode, found.stderr) == (0, "")
    assert "generation 1 serves" in found.stdout
    assert supervisor.get().version == "v1"


def test_a_displaced_request_is_4(supervisor: Supervisor) -> None:
    supervisor.configure(handoff={"probation": "30s"})
    supervisor.command("upgrade", "--no-wait")
    supervisor.event("phase", phase="probation")
    with asking(supervisor, "upgrade") as displaced:
        supervisor.event("request_kept")
        later = json.loads(supervisor.command("upgrade", "--no-wait", "--json").stdout)["request"]
        _, complaint = displaced.communicate(timeout=DEADLINE)
    assert (displaced.returncode, complaint) == (4, f"refused: displaced by a later request: request {later}\n")


def test_a_supervisor_that_is_killed_in_the_middle_is_5(supervisor: Supervisor) -> None:
    supervisor.configure(handoff={"probation": "30s"})
    with asking(supervisor, "upgrade") as upgrade:
        supervisor.event("phase", phase="probation")
        supervisor.process.kill()
        _, complaint = upgrade.communicate(timeout=DEADLINE)
    assert upgrade.returncode == 5
    waits, complaint = complaint.splitlines()
    assert waits == "the supervisor is gone: waiting for the next one"
    assert complaint.startswith("gapless: the supervisor ended before the handoff did")


def test_one_who_waits_hears_the_end_from_the_next_supervisor(supervisor: Supervisor) -> None:
    supervisor.configure(handoff={"probation": "2s"})
    with asking(supervisor, "upgrade", "--wait-drain") as upgrade:
        supervisor.event("phase", phase="probation")
        supervisor.taken_over()
        said, complaint = upgrade.communicate(timeout=DEADLINE)
    assert (upgrade.returncode, complaint) == (0, "the supervisor is gone: waiting for the next one\n")
    assert "generation 2 serves" in said
    assert [each["generation"] for each in supervisor.status()["generations"]] == [2]
    assert len(supervisor.history()) == 1


def test_one_who_stops_waiting_stops_nothing(supervisor: Supervisor) -> None:
    supervisor.configure(handoff={"probation": "3s"})
    with asking(supervisor, "upgrade") as upgrade:
        supervisor.event("phase", phase="probation")
        upgrade.send_signal(signal.SIGINT)
        _, complaint = upgrade.communicate(timeout=DEADLINE)
    assert (upgrade.returncode, complaint) == (130, "gapless: no longer waiting; what was asked for goes on\n")
    supervisor.event("handoff_ended", result="committed")


@contextmanager
def listening(supervisor: Supervisor, *flags: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`gapless events` at work, and the first line that it said: handoffs are asked for until it hears of one."""
    command = [*GAPLESS, "events", *flags, "--socket", str(supervisor.control)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as events:
        try:
            assert events.stdout is not None
            ends = time.monotonic() + DEADLINE
            while not select.select([events.stdout], [], [], 0)[0]:
                assert time.monotonic() < ends
                supervisor.command("upgrade")
            yield events, events.stdout.readline()
        finally:
            events.kill()


def test_stop_is_heard_and_events_end_with_it(supervisor: Supervisor) -> None:
    with listening(supervisor) as (events, first):
        assert supervisor.command("stop").returncode == 0
        rest, complaint = events.communicate(timeout=DEADLINE)
    assert re.match(r"\d\d:\d\d:\d\d\.\d{3} \w+", first)
    assert "generation_ended" in rest
    assert (events.returncode, complaint) == (0, "")
    assert supervisor.ended() == 0


def test_events_for_machines_are_an_object_a_line(supervisor: Supervisor) -> None:
    with listening(supervisor, "--json") as (events, first):
        assert set(json.loads(first)) >= {"event", "at"}
        assert events.stdout is not None
        assert events.stderr is not None
        events.stdout.close()  # whoever reads goes away
        supervisor.command("upgrade")
        assert events.wait(DEADLINE) == 141
        assert events.stderr.read() == ""


def test_status_before_and_after_the_command(supervisor: Supervisor) -> None:
    path = str(supervisor.control)
    before, after = gapless("--socket", path, "status", "--json"), gapless("status", "--json", "--socket", path)
    assert json.loads(before.stdout)["pid"] == json.loads(after.stdout)["pid"] == supervisor.pid


def test_history_is_a_line_an_entry(supervisor: Supervisor) -> None:
    assert supervisor.command("history").stdout == "no handoff has ended yet\n"
    supervisor.upgrade()
    supervisor.hup("/nonexistent")
    lines = supervisor.command("history").stdout.splitlines()
    assert len(lines) == 3
    assert re.match(r"\d\d:\d\d:\d\d +1  SIGHUP +1 → 2 +\S+ +[0-9.]+ s  committed$", lines[1])
    assert "refused" in lines[2]
    assert "bad release" in lines[2]
    assert len(json.loads(supervisor.command("history", "--json").stdout)) == 2


@pytest.mark.parametrize("columns", [80, 100, 160])
def test_status_fits_and_the_release_is_whole(supervisor: Supervisor, columns: int) -> None:
    supervisor.configure(handoff={"probation": "30s"})
    supervisor.command("upgrade", "--no-wait")
    supervisor.event("phase", phase="probation")
    _, written = on_terminal("status", "--socket", str(supervisor.control), columns=columns)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in written.splitlines()]
    assert max(map(len, lines)) <= columns
    told = "\n".join(lines)
    assert re.search(r"on probation until \d\d:\d\d:\d\d, [0-9.]+ s left", told)
    for each in supervisor.status()["generations"]:
        assert re.search(
            rf"^ *{each['generation']}  {each['role']} +{re.escape(each['release']['id'])} ", told, re.MULTILINE
        )
    assert ("memory" in told) == (columns >= 100)


def test_status_watched_goes_on_until_the_supervisor_is_gone(supervisor: Supervisor) -> None:
    with asking(supervisor, "status", "--watch") as watching:
        assert watching.stdout is not None
        assert "serving release" in watching.stdout.readline()
        supervisor.stop()
        _, complaint = watching.communicate(timeout=DEADLINE)
    assert (watching.returncode, complaint.count("\n")) == (5, 1)


def test_a_pipe_that_nobody_reads_is_no_failure_of_ours(supervisor: Supervisor) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    found = subprocess.run(
        [*GAPLESS, "status", "--json", "--socket", str(supervisor.control)],
        cwd=ROOT,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert (found.returncode, found.stderr) == (141, "")


def test_a_terminal_that_knows_no_arrow_gets_a_question_mark(supervisor: Supervisor) -> None:
    supervisor.upgrade()
    found = gapless("history", "--socket", str(supervisor.control), env={"PYTHONIOENCODING": "ascii"})
    assert (found.returncode, "1 ? 2" in found.stdout) == (0, True)


def test_the_only_service_is_found_by_itself(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = supervisor.folder / "run" / "gapless"
    for name in ("one", "dead"):
        (folder / name).mkdir(parents=True)
    (folder / "one" / "control.sock").symlink_to(supervisor.control)
    (folder / "dead" / "control.sock").touch()
    monkeypatch.setattr("supervisor.paths.runtime_root", lambda: folder)
    monkeypatch.setattr("supervisor.paths._SYSTEM", folder)
    from supervisor.cli import main  # noqa: PLC0415 - after what it looks at was changed

    assert main(["status", "--json"]) == 0
    (folder / "two").mkdir()
    (folder / "two" / "control.sock").symlink_to(supervisor.control)
    assert main(["status"]) == 2


def test_usage_is_told_before_anybody_is_asked(supervisor: Supervisor) -> None:
    failed(gapless("upgrade", "--wait-for-it", "--socket", str(supervisor.control)), 2)
    assert supervisor.history() == []
