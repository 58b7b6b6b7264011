"""The audit log of a real supervisor: what came, from whom, and how it was answered."""

import json
import os
import signal
from pathlib import Path
from typing import Any

from tests.handoff.conftest import Make
from tests.handoff.test_hard_times import SmallDisk, fill, needs_mounts
from tests.harness.supervisor import Supervisor


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(each) for each in (folder / "audit.jsonl").read_text().splitlines() if each.endswith("}")]


def test_commands_and_signals_are_kept(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.start(v1)
    supervisor.use(v2)
    assert supervisor.command("upgrade", "--request-id", "deploy-7").returncode == 0
    assert supervisor.command("status").returncode == 0
    supervisor.upgrade(v1)
    assert supervisor.command("upgrade", "--if-current", "v9").returncode == 4
    assert supervisor.command("reexec").returncode == 0
    supervisor.signal(signal.SIGTERM)
    assert supervisor.ended() == 0
    found = lines(supervisor.folder / "state")
    assert [(each["event"], each.get("command") or each["way"]) for each in found] == [
        ("asked", "upgrade"),
        ("answered", "upgrade"),
        ("signal", "SIGHUP"),
        ("asked", "upgrade"),
        ("answered", "upgrade"),
        ("asked", "reexec"),
        ("answered", "reexec"),
        ("signal", "SIGTERM"),
    ]
    first = found[0]
    assert (first["request"], first["uid"], first["role"]) == ("deploy-7", os.geteuid(), "admin")
    assert first["pid"] != supervisor.pid
    assert found[1]["call"] == first["call"]
    assert (found[1]["status"], found[1]["request"]) == (202, "deploy-7")
    assert found[3]["if_current"] == "v9"
    assert found[6]["status"] == 202
    assert supervisor.event("control_asked")["command"] == "upgrade"


@needs_mounts
def test_a_full_disk_stops_no_command(make: Make, tmp_path: Path, v1: Path, v2: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    supervisor = make(SmallDisk(disk))
    supervisor.configure(service={"state_dir": str(disk / "state")})
    supervisor.start(v1)
    assert isinstance(supervisor.network, SmallDisk)
    inside, mark = supervisor.network.inside(supervisor.pid), supervisor.mark()
    fill(inside / "filler")
    supervisor.use(v2)
    assert supervisor.command("upgrade").returncode == 0
    assert supervisor.get().version == "v2"
    assert "No space left on device" in supervisor.event("audit_failed", mark)["reason"]
    assert supervisor.event("control_asked", mark)["command"] == "upgrade", "the log has it all the same"
    (inside / "filler").unlink()
    assert supervisor.command("abort", "--no-wait").returncode in {0, 4}
    told = lines(inside / "state")
    assert (told[0]["command"], told[0]["lost"]) == ("abort", 2)
