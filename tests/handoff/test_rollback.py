"""Rollback and abort: back to what served before, at once where it still stands by."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.harness import builds, proc
from tests.harness.output import DEADLINE
from tests.harness.supervisor import Supervisor


def test_to_the_release_before(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.start(v1)
    supervisor.upgrade(v2)
    done = supervisor.command("rollback", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["result"] == "done"
    assert supervisor.get().version == "v1"
    assert supervisor.serving()["generation"] == 3
    assert supervisor.command("rollback").returncode == 0
    assert supervisor.get().version == "v2"


def test_to_any_that_has_served_as_it_served(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    """Arguments, environment and policy: what a generation is sent when it is to end is of the policy."""
    command = [str(supervisor.current), "-log-connections", str(supervisor.connections)]
    first = {"command": [*command, "-drain-idle", "4s"], "environment": {"COLOUR": "blue"}}
    supervisor.configure(service=first, drain={"signal": "INT"})
    supervisor.start(v1)
    known = supervisor.serving()["release"]["id"]
    supervisor.configure(service={"command": command, "environment": {"COLOUR": "red"}}, drain={"signal": "TERM"})
    supervisor.upgrade(v2)
    supervisor.upgrade(builds.go_server("v3"))
    assert supervisor.status()["served"][0]["id"] == known

    assert supervisor.command("rollback", known).returncode == 0

    assert supervisor.get().version == "v1"
    told = Path(f"/proc/{supervisor.pid_of(4)}")
    assert proc.environment(supervisor.pid_of(4))["COLOUR"] == "blue"
    assert (told / "cmdline").read_text().split("\0")[-3:-1] == ["-drain-idle", "4s"]
    assert supervisor.status()["runs_by"] == "record"
    assert "runs by the configuration recorded with its release" in supervisor.command("status").stdout
    supervisor.upgrade(v2)
    assert supervisor.event("generation_told", generation=4)["signal"] == "INT"
    assert supervisor.status()["runs_by"] == "file"
    assert proc.environment(supervisor.pid_of(5))["COLOUR"] == "red"


def test_a_name_that_means_none_of_them_is_refused(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.start(v1)
    supervisor.upgrade(v2)
    refused = supervisor.command("rollback", "v7")
    assert refused.returncode == 4
    assert "v7 is none of the releases that have served and are kept; those are go-server" in refused.stderr


def test_what_can_be_gone_back_to_outlives_supervisor_and_server(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.start(v1)
    known = supervisor.serving()["release"]["id"]
    supervisor.upgrade(v2)
    supervisor.event("generation_ended", generation=1)
    serving = supervisor.pid_of(2)
    kept = supervisor.kill()
    os.kill(serving, signal.SIGKILL)
    proc.gone(serving, DEADLINE)
    supervisor.use(builds.go_server("v3"))
    mark = supervisor.mark()
    supervisor.spawn(says=kept)
    supervisor.event("generation_ready", mark)
    assert supervisor.get().version == "v3"
    assert supervisor.command("rollback").returncode == 0
    assert supervisor.get().version == "v2"
    assert supervisor.command("rollback", known).returncode == 0
    assert supervisor.get().version == "v1"


def test_there_is_none_before_the_first(supervisor: Supervisor, v1: Path) -> None:
    supervisor.start(v1)
    refused = supervisor.command("rollback")
    assert refused.returncode == 4
    assert "no previous release" in refused.stderr


@pytest.mark.parametrize(("change", "said"), [("gone", "cannot be found"), ("changed", "has changed since it served")])
def test_refused_when_the_file_is_not_what_it_was(
    supervisor: Supervisor, v1: Path, v2: Path, change: str, said: str
) -> None:
    copy = supervisor.folder / "copy"
    shutil.copy(v1, copy)
    supervisor.start(copy)
    supervisor.upgrade(v2)
    copy.unlink()
    if change == "changed":
        shutil.copy(v2, copy)
    refused = supervisor.command("rollback")
    assert refused.returncode == 4
    assert said in refused.stderr
    assert str(copy) in refused.stderr
    assert supervisor.get().version == "v2"


def test_a_file_put_back_with_the_same_content_will_do(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    copy = supervisor.folder / "copy"
    shutil.copy(v1, copy)
    supervisor.start(copy)
    supervisor.digest()
    supervisor.upgrade(v2)
    copy.unlink()
    shutil.copy(v1, copy)
    assert supervisor.command("rollback").returncode == 0
    assert supervisor.get().version == "v1"


def test_from_probation_it_is_immediate_and_starts_nothing(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.configure(handoff={"probation": "60s"})
    supervisor.start(v1)
    old = supervisor.get().pid
    supervisor.use(v2)
    mark = supervisor.signal(signal.SIGHUP)
    supervisor.event("phase", mark, phase="probation")
    assert supervisor.get().version == "v2"
    assert supervisor.command("rollback").returncode == 0
    assert supervisor.get().pid == old
    ended = supervisor.event("handoff_ended", mark)
    assert (ended["result"], ended["reason"]) == ("rolled back", "aborted")
    assert supervisor.event("generation_ended", generation=2)["exit"] == "exit status 0"
    assert len(supervisor.events("generation_started")) == 2


@pytest.mark.parametrize("phase", ["ready", "probation"])
def test_abort(supervisor: Supervisor, v1: Path, v2: Path, phase: str) -> None:
    supervisor.configure(handoff={"probation": "60s"})
    supervisor.start(v1)
    old = supervisor.get().pid
    supervisor.use(builds.go_server("broken", "-never-ready") if phase == "ready" else v2)
    mark = supervisor.signal(signal.SIGHUP)
    supervisor.event("phase", mark, phase=phase)
    assert supervisor.command("abort").returncode == 0
    ended = supervisor.event("handoff_ended", mark)
    assert (ended["result"], ended["reason"]) == ("rolled back", "aborted")
    assert supervisor.get().pid == old
    supervisor.event("generation_ended", generation=2)
    supervisor.configure(handoff={"probation": "0s"})
    supervisor.upgrade(v2)


def test_abort_of_nothing(supervisor: Supervisor, v1: Path) -> None:
    supervisor.start(v1)
    refused = supervisor.command("abort")
    assert refused.returncode == 4
    assert "no handoff is under way" in refused.stderr


@pytest.mark.parametrize(
    ("baked", "status", "said"),
    [("", 0, "done in "), ("-crash-at-start", 3, "rolled back: died before it was ready: exit status 3")],
)
def test_the_command_upgrade_waits_and_tells(
    supervisor: Supervisor, v1: Path, baked: str, status: int, said: str
) -> None:
    supervisor.start(v1)
    supervisor.use(builds.go_server("next", baked))
    told = supervisor.command("upgrade")
    assert told.returncode == status
    assert said in told.stdout + told.stderr
    assert supervisor.serving()["generation"] == (1 if status else 2)
