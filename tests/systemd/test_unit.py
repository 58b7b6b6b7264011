"""systemd/gapless@.service, under a real systemd: what docs/systemd.md promises."""

import json
import re
import subprocess
from contextlib import closing

import pytest

from supervisor.config.tables import DrainTable, ReadyTable, StopTable
from tests.systemd.box import UNITS, Box
from tests.systemd.conftest import ROOT, Servers
from tests.systemd.unit import Load, Unit


def test_systemd_finds_no_fault_in_the_unit(box: Box) -> None:
    del box  # for the reasons to skip that it knows
    done = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", "--man=no", ROOT / "systemd/gapless@.service"],
        env={"SYSTEMD_UNIT_PATH": f"{ROOT / 'systemd'}:{UNITS}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    faults = [line for line in done.stderr.splitlines() if "/usr/local/bin/gapless is not executable" not in line]
    assert not [line for line in faults if "gapless" in line], done.stderr


def test_systemd_waits_longer_than_gapless() -> None:
    text = (ROOT / "systemd/gapless@.service").read_text()
    seconds = {name: int(value) for name, value in re.findall(r"^(Timeout\w+)=(\d+)s$", text, re.MULTILINE)}
    # after KILL, what a server left behind gets TERM and 2 s, KILL and 2 s
    assert seconds["TimeoutStopSec"] > max(StopTable().timeout, DrainTable().timeout) + 4
    assert seconds["TimeoutStartSec"] > 2 * ReadyTable().timeout


def test_active_means_that_the_server_is_ready(unit: Unit, servers: Servers) -> None:
    unit.configure("-start-delay=1s")
    unit.release(servers.build("v1"))
    unit.box.systemctl("start", "--no-block", unit.unit)
    unit.happened("generation_started")
    assert unit.show("ActiveState") == "activating"
    ready = unit.happened("generation_ready")
    unit.said("Started")
    assert unit.show("ActiveState") == "active"
    assert int(unit.show("ActiveEnterTimestampMonotonic")) >= int(ready["__MONOTONIC_TIMESTAMP"]) - 50_000
    assert unit.box.get(unit.port) == (200, "v1")


def test_status_says_what_gapless_is_doing(unit: Unit, servers: Servers) -> None:
    unit.configure()
    unit.release(servers.build("v1"))
    unit.start()
    release = unit.happened("generation_ready")["event"]["release"]
    assert f'Status: "serving release {release}"' in unit.box.systemctl("status", unit.unit)
    told = unit.box.succeed("gapless", "status", "--json", "--service", unit.name)
    assert json.loads(told)["pid"] == int(unit.show("MainPID"))
    assert (unit.box.root / f"var/lib/gapless/{unit.name}/lock").exists()


def test_the_journal_has_the_events_as_json(unit: Unit, servers: Servers) -> None:
    unit.configure()
    unit.release(servers.build("v1"))
    unit.start()
    events = [json.loads(line) for line in unit.log().splitlines() if line.startswith("{")]
    names = [each["event"] for each in events]
    assert {"listening", "generation_started", "generation_ready"} <= set(names)
    assert all({"level", "timestamp"} <= each.keys() for each in events)
    of_gapless = unit.box.succeed("journalctl", "-o", "cat", "_PID=" + unit.show("MainPID")).splitlines()
    assert [line for line in unit.log().splitlines() if line.startswith("{")] == [
        line for line in of_gapless if line.startswith("{")
    ]


def test_what_systemd_tells_gapless_is_not_told_to_the_server(unit: Unit, servers: Servers) -> None:
    unit.drop_in("WatchdogSec=1h")
    unit.configure()
    unit.release(servers.build("v1"))
    unit.start()
    pid = unit.happened("generation_started")["event"]["pid"]
    block = (unit.box.root / f"proc/{unit.show('MainPID')}/environ").read_text()
    ours = dict(item.split("=", 1) for item in block.split("\0") if item)
    assert {"NOTIFY_SOCKET", "WATCHDOG_USEC", "SYSTEMD_EXEC_PID"} <= ours.keys()
    block = (unit.box.root / f"proc/{pid}/environ").read_text()
    its = dict(item.split("=", 1) for item in block.split("\0") if item)
    assert not {"WATCHDOG_USEC", "WATCHDOG_PID", "SYSTEMD_EXEC_PID", "MAINPID", "FDSTORE"} & its.keys()
    assert its["NOTIFY_SOCKET"].startswith(f"/run/gapless/{unit.name}/")
    assert its["LISTEN_PID"] == str(pid)
    assert its["LISTEN_FDNAMES"] == "http"


def test_many_files_may_be_open(unit: Unit, servers: Servers) -> None:
    unit.configure()
    unit.release(servers.build("v1"))
    unit.start()
    assert unit.show("LimitNOFILE") == "524288"
    limits = (unit.box.root / f"proc/{unit.show('MainPID')}/limits").read_text()
    soft, hard = next(line for line in limits.splitlines() if line.startswith("Max open files")).split()[3:5]
    assert soft == hard  # 524288, or what this machine allows
    assert int(soft) > 1024


def test_reload_hands_over_without_losing_a_request(unit: Unit, servers: Servers) -> None:
    unit.configure()
    unit.release(servers.build("v1"))
    unit.start()
    with Load(servers.load(), unit.box, unit.port) as load:
        for version in ("v2", "v1", "v2"):
            unit.release(servers.build(version))
            unit.box.systemctl("reload", unit.unit)
            unit.happened("handoff_ended", result="committed")
            unit.happened("generation_ended")
            load.answered_by(version)
        summary = load.end()
    assert summary["failed"] == 0, summary["failures"]
    assert summary["versions"].keys() == {"v1", "v2"}
    assert summary["requests"] > 500
    assert unit.show("ActiveState") == "active"
    assert unit.show("NRestarts") == "0"


def test_a_bad_binary_leaves_the_old_one_serving(unit: Unit, servers: Servers) -> None:
    unit.configure()
    unit.release(servers.build("v1"))
    unit.start()
    with Load(servers.load(), unit.box, unit.port) as load:
        unit.release(servers.build("bad", "-crash-at-start"))
        unit.box.systemctl("reload", unit.unit)
        unit.happened("handoff_ended", result="rolled back")
        load.answered_by("v1")
        summary = load.end()
    assert summary["failed"] == 0, summary["failures"]
    assert summary["versions"].keys() == {"v1"}
    assert unit.show("ActiveState") == "active"
    refused = unit.box.run("gapless", "upgrade", "--service", unit.name)
    assert refused.returncode == 3, refused.stderr


def test_stop_finishes_what_is_open_and_leaves_nothing(unit: Unit, servers: Servers) -> None:
    unit.configure("-fork-grandchild", "-log-connections=-")
    unit.release(servers.build("v1"))
    unit.start()
    unit.happened("generation_ready")
    assert len(unit.processes()) >= 4  # gapless, the server, two of the server's that ignore TERM
    with closing(unit.box.ask(unit.port, "/slow?ms=1500")) as open_request:
        unit.said(f"conn {open_request.sock.getsockname()[1]} ")
        unit.box.systemctl("stop", unit.unit)
        assert open_request.getresponse().status == 200
    assert unit.show("ActiveState") == "inactive"
    assert (unit.show("Result"), unit.show("ExecMainStatus")) == ("success", "0")
    assert unit.processes() == []
    assert not (unit.box.root / f"run/gapless/{unit.name}").exists()


def test_a_stop_that_had_to_kill_is_a_failure_and_stays_one(unit: Unit, servers: Servers) -> None:
    unit.configure("-ignore-term", stop="500ms")
    unit.release(servers.build("v1"))
    unit.start()
    unit.box.succeed("gapless", "stop", "--service", unit.name)
    unit.happened("generation_killed")
    unit.said("Failed with result")
    assert unit.show("ActiveState") == "failed"
    assert (unit.show("Result"), unit.show("ExecMainStatus")) == ("exit-code", "6")
    assert unit.processes() == []


def test_a_server_that_never_gets_ready_fails_the_start_and_is_tried_again(unit: Unit, servers: Servers) -> None:
    unit.drop_in("TimeoutStartSec=2s", "RestartSec=100ms")
    unit.configure("-never-ready", ready="1500ms")
    unit.release(servers.build("v1"))
    done = unit.box.run("systemctl", "start", unit.unit)
    assert done.returncode == 1
    assert "timeout" in done.stderr
    unit.said("Scheduled restart job")
    unit.configure()  # the cause is gone
    unit.happened("generation_ready")
    unit.said("Started")
    assert unit.box.get(unit.port) == (200, "v1")


def test_a_bad_configuration_fails_the_start_with_the_reason(unit: Unit, servers: Servers) -> None:
    unit.configure(ready="soon")
    unit.release(servers.build("v1"))
    assert unit.box.run("systemctl", "start", unit.unit).returncode == 1
    assert "want a duration" in unit.said("ready.timeout")["MESSAGE"]


def test_a_server_that_dies_is_started_again_by_gapless_and_not_by_systemd(unit: Unit, servers: Servers) -> None:
    unit.configure()
    unit.release(servers.build("v1"))
    unit.start()
    pid = unit.happened("generation_started")["event"]["pid"]
    main = unit.show("MainPID")
    unit.box.succeed("kill", "-KILL", str(pid))
    unit.happened("generation_down")
    unit.happened("generation_ready")
    assert unit.box.get(unit.port)[0] == 200
    assert (unit.show("MainPID"), unit.show("NRestarts")) == (main, "0")
    assert unit.show("OOMPolicy") == "continue"  # a death by the kernel's OOM killer is one of these


def test_the_server_outlives_a_crash_of_gapless_and_is_replaced_when_it_ends(unit: Unit, servers: Servers) -> None:
    unit.drop_in("RestartSec=50ms")
    unit.configure()
    unit.release(servers.build("v1"))
    unit.start()
    pid = unit.happened("generation_started")["event"]["pid"]
    with Load(servers.load(), unit.box, unit.port) as load:
        unit.box.systemctl("kill", "--kill-who=main", "--signal=KILL", unit.unit)
        refused = unit.said("in use")["MESSAGE"]
        for _ in range(5):  # systemd's own limit is five starts in ten seconds
            unit.said("in use")
        load.answered_by("v1")
        assert load.end()["failed"] == 0
    assert str(pid) in refused, refused
    assert pid in unit.processes()
    unit.box.systemctl("kill", unit.unit)  # what docs/systemd.md tells the operator to do
    fresh = unit.happened("generation_ready")
    unit.said("Started")
    assert unit.show("ActiveState") == "active"
    assert fresh["_PID"] == unit.show("MainPID")
    assert pid not in unit.processes()
    assert unit.box.get(unit.port) == (200, "v1")


def test_a_server_left_behind_can_be_ended_after_a_stop(unit: Unit, servers: Servers) -> None:
    unit.configure()
    unit.release(servers.build("v1"))
    unit.start()
    pid = unit.happened("generation_started")["event"]["pid"]
    unit.box.systemctl("kill", "--kill-who=main", "--signal=KILL", unit.unit)
    unit.said("Failed with result")
    unit.box.systemctl("stop", unit.unit)
    assert unit.box.get(unit.port) == (200, "v1")
    unit.box.systemctl("kill", unit.unit)
    unit.box.succeed("tail", f"--pid={pid}", "--follow", "/dev/null")
    assert unit.processes() == []


@pytest.mark.parametrize("way", ["restart", "stop and start"])
def test_restart_drains_and_begins_anew(unit: Unit, servers: Servers, way: str) -> None:
    unit.configure()
    unit.release(servers.build("v1"))
    unit.start()
    before = unit.show("MainPID")
    unit.release(servers.build("v2"))
    for verb in way.split(" and "):
        unit.box.systemctl(verb, unit.unit)
    assert unit.box.get(unit.port) == (200, "v2")
    assert unit.show("MainPID") != before
    assert len(unit.processes()) == 2
