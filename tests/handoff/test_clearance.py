"""What has to say yes before a candidate is started: preflight, the candidate's own check, and gates."""

import hashlib
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.harness import builds, proc
from tests.harness.supervisor import Supervisor
from tests.releases.programs import program, with_text


def gate(script: str, name: str = "scan", **keys: str) -> Mapping[str, Any]:
    return {"name": name, "command": ["/bin/sh", "-c", script], **keys}


def started(supervisor: Supervisor, v1: Path, *gates: Mapping[str, Any], **tables: Mapping[str, Any]) -> Supervisor:
    supervisor.configure(gate=gates, **{"preflight": {"refuse": None} | dict(tables.pop("preflight", {})), **tables})
    supervisor.start(v1)
    return supervisor


def refused(supervisor: Supervisor, release: Path) -> str:
    """Why; and that nobody has noticed."""
    mark, pid = supervisor.mark(), supervisor.serving()["pid"]
    ended = supervisor.hup(release)
    assert (ended["result"], ended["to_generation"]) == ("refused", None)
    assert supervisor.events("generation_started", since=mark) == []
    assert [each["phase"] for each in supervisor.events("phase", since=mark)] == ["verify"]
    assert supervisor.serving()["pid"] == pid
    assert supervisor.get().version == "v1"
    reason = supervisor.history()[-1]["reason"]
    assert reason == ended["reason"]
    return str(reason)


# ---- preflight


def test_what_cannot_run_is_never_started(supervisor: Supervisor, v1: Path) -> None:
    started(supervisor, v1)
    broken = program(supervisor.folder / "broken", with_text(b"libc.so.6", b"libq.so.6"))
    assert refused(supervisor, broken).startswith(
        "preflight: it needs libq.so.6, which is nowhere that the loader looks"
    )
    assert supervisor.history()[-1]["report"]["preflight"].startswith("blocks: it needs libq.so.6")
    assert "preflight" in supervisor.command("history", "1").stdout


def test_a_warning_is_told_and_holds_nobody_up(supervisor: Supervisor, v1: Path) -> None:
    started(supervisor, v1)
    covered = builds.go_server("v2", "", "-cover")
    supervisor.upgrade(covered)
    told = "warns: it was built with counters of coverage: build it without -cover"
    assert supervisor.history()[-1]["report"]["preflight"] == told
    assert f"preflight: {told}" in " ".join(supervisor.command("explain").stdout.split())


def test_a_warning_can_be_made_to_refuse(supervisor: Supervisor, v1: Path) -> None:
    started(supervisor, v1, preflight={"refuse": "warns"})
    covered = builds.go_server("v2", "", "-cover")
    assert refused(supervisor, covered) == (
        "preflight: it was built with counters of coverage: build it without -cover"
    )
    supervisor.configure(preflight={"refuse": "nothing"})
    supervisor.upgrade(covered)
    assert supervisor.history()[-1]["report"]["preflight"] is None


def test_who_runs_already_is_not_looked_at_again(supervisor: Supervisor) -> None:
    covered = builds.go_server("v2", "", "-cover")
    started(supervisor, covered)
    supervisor.upgrade(covered)
    assert supervisor.history()[-1]["report"]["preflight"] is None
    supervisor.configure(service={"environment": {"OTHER": "1"}})
    supervisor.upgrade(covered)
    assert supervisor.history()[-1]["report"]["preflight"] is not None


# ---- the check


def test_the_check_of_the_candidate_itself(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    """A name that the server does not know ends it at once, with its usage."""
    started(supervisor, v1, preflight={"check": ["{path}", "-no-such-flag"]})
    told = refused(supervisor, v2)
    assert told.startswith("its own check says no: the check failed with exit status 2: ")
    supervisor.configure(preflight={"check": ["/usr/bin/test", "-x", "{path}"]})
    supervisor.upgrade(v2)


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root: the server runs as another user")
def test_the_check_runs_as_the_server_does(v1: Path, v2: Path) -> None:
    """In a folder that another user may come by, which no folder of pytest's is."""
    check = ["/bin/sh", "-c", 'echo "$(id -u) $PWD $MARK $GAPLESS_RELEASE"; exit 9']
    service = {"user": "nobody", "directory": "/usr", "environment": {"MARK": "m"}}
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        with closing(Supervisor(Path(name))) as supervisor:
            supervisor.connections.chmod(0o666)
            old, new = (Path(shutil.copy(each, Path(name, each.name))) for each in (v1, v2))
            started(supervisor, old, preflight={"check": check}, service=service)
            told = refused(supervisor, new)
    assert told.startswith("its own check says no: the check failed with exit status 9: 65534 /usr m ")


# ---- gates


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo three findings; echo CVE-2026-1 >&2; exit 3", "gate scan failed with exit status 3: CVE-2026-1"),
        ("kill -9 $$", "gate scan failed with signal 9"),
        ("yes | head -c 9000000; echo no; exit 1", "gate scan failed with exit status 1: no"),
        ("printf 'a\\033[31mb\\r\\n'; exit 1", "gate scan failed with exit status 1: a?[31mb"),
    ],
)
def test_a_gate_that_says_no(supervisor: Supervisor, v1: Path, v2: Path, script: str, told: str) -> None:
    started(supervisor, v1, gate("echo well", "first"), gate(script), gate("touch $GAPLESS_PATH.asked", "late"))
    assert refused(supervisor, v2) == f"a gate says no: {told}"
    said = supervisor.history()[-1]["report"]["gates"]
    assert [(each["name"], each["yes"]) for each in said] == [("first", True), ("scan", False)]
    assert said[0]["said"] == "well"
    assert not Path(f"{v2}.asked").exists()


def test_a_gate_that_cannot_be_asked(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    started(supervisor, v1, {"name": "scan", "command": ["/no/such/scanner"]})
    assert "/no/such/scanner" in refused(supervisor, v2)


def test_a_gate_that_gives_no_answer(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    pids = supervisor.folder / "pids"
    script = f"echo looking; sleep 600 & echo $$ $! >{pids}; wait"
    started(supervisor, v1, gate(script, timeout="500ms"))
    assert refused(supervisor, v2) == "a gate says no: gate scan has not answered in 0.5 s and was killed: looking"
    for pid in map(int, pids.read_text().split()):
        assert proc.gone(pid, 10)


def test_what_a_gate_is_told(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    kept = supervisor.folder / "told"
    started(supervisor, v1, gate(f"env >{kept}; pwd"))
    supervisor.digest()
    supervisor.upgrade(v2)
    told = dict(line.split("=", 1) for line in kept.read_text().splitlines() if line.startswith("GAPLESS_"))
    told.pop("GAPLESS_ROOT", None)  # the tests' own
    first, second = (each["release"] for each in supervisor.events("generation_started"))
    assert told == {
        "GAPLESS_SERVICE": supervisor.name,
        "GAPLESS_RELEASE": second,
        "GAPLESS_PATH": str(v2),
        "GAPLESS_SHA256": hashlib.sha256(v2.read_bytes()).hexdigest(),
        "GAPLESS_PREVIOUS_RELEASE": first,
        "GAPLESS_PREVIOUS_PATH": str(v1),
        "GAPLESS_PREVIOUS_SHA256": hashlib.sha256(v1.read_bytes()).hexdigest(),
    }
    page = supervisor.command("history", "1").stdout
    assert "scan" in page
    assert "yes after" in page


def test_only_an_upgrade_is_held_up(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    """A first start is not, nor a rollback: the way back is open whatever a gate says."""
    closed = supervisor.folder / "closed"
    closed.touch()
    started(supervisor, v1, gate(f"test ! -e {closed}"))
    assert refused(supervisor, v2).startswith("a gate says no")
    closed.unlink()
    supervisor.upgrade(v2)
    closed.touch()
    assert supervisor.command("rollback").returncode == 0
    assert supervisor.get().version == "v1"


# ---- interrupted


def held(supervisor: Supervisor, v1: Path, v2: Path) -> tuple[int, Path]:
    """One handoff that waits for a gate: the gate's pid, and what opens it."""
    pids, opened = supervisor.folder / "pids", supervisor.folder / "opened"
    os.mkfifo(pids)
    started(supervisor, v1, gate(f"test -e {opened} || {{ echo $$ >{pids}; exec sleep 600; }}"))
    supervisor.use(v2)
    supervisor.signal(signal.SIGHUP)
    return int(pids.read_text()), opened


def test_an_abort_ends_the_question(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    pid, _ = held(supervisor, v1, v2)
    told = " ".join(supervisor.command("explain").stdout.split())
    assert "gate scan is asked, since " in told
    assert "no answer is a no at " in told
    assert supervisor.status()["waiting"][0]["until"] > supervisor.status()["now"]
    assert supervisor.command("abort").returncode == 0
    assert supervisor.history()[-1]["reason"].startswith("aborted")
    assert proc.gone(pid, 10)


def test_a_later_supervisor_asks_again(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    pid, opened = held(supervisor, v1, v2)
    opened.touch()
    mark = supervisor.mark()
    supervisor.taken_over()
    assert proc.gone(pid, 10)
    assert supervisor.event("handoff_ended", mark)["result"] == "committed"
    assert supervisor.get().version == "v2"


def test_a_stop_ends_the_question(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    pid, _ = held(supervisor, v1, v2)
    assert supervisor.stop() == 0
    assert proc.gone(pid, 10)


def test_nobody_is_asked_about_what_is_in_quarantine(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    """Its own check would run it."""
    supervisor.configure(rollback={"after": 1}, restart={"delay": "50ms"})
    started(supervisor, v1)
    supervisor.upgrade(v2)
    mark = supervisor.mark()
    os.kill(supervisor.pid_of(2), signal.SIGKILL)
    assert supervisor.event("handoff_ended", mark, handoff=2)["result"] == "committed"
    asked = supervisor.folder / "asked"
    supervisor.configure(gate=[gate(f"touch {asked}")], preflight={"check": ["/usr/bin/touch", str(asked)]})
    assert str(supervisor.hup()["reason"]).startswith("in quarantine: ")
    assert not asked.exists()
    supervisor.upgrade(builds.go_server("v3"))
    assert asked.exists()


def test_a_gate_that_cannot_be_started_is_in_the_history(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    folder = supervisor.folder / "work"
    folder.mkdir()
    started(supervisor, v1, gate("true"), service={"directory": str(folder)})
    gone = supervisor.folder / "gone"
    folder.rename(gone)
    reason = str(supervisor.hup(v2)["reason"])
    gone.rename(folder)
    assert reason.startswith("a gate says no: ")
    assert [each["yes"] for each in supervisor.history()[-1]["report"]["gates"]] == [False]
