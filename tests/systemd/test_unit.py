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


@pytest.mark.parametrize("folder", ["systemd", "systemd/user"])
def test_systemd_finds_no_fault_in_the_unit(box: Box, folder: str) -> None:
    """The one for the system with its drop-in."""
    del box  # for the reasons to skip that it knows
    done = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", "--man=no", ROOT / folder / "gapless@.service"],
        env={"SYSTEMD_UNIT_PATH": f"{ROOT / folder}:{UNITS}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    faults = [line for line in done.stderr.splitlines() if "/usr/local/bin/gapless is not executable" not in line]
    assert not [line for line in faults if "gapless" in line], done.stderr


def test_the_sysctl_file_is_taken(box: Box) -> None:
    del box  # as above
    script = 'sysctl --quiet --load="$1" && cat /proc/sys/net/ipv4/tcp_migrate_req'
    found = subprocess.check_output(
        ["unshare", "--net", "sh", "-euc", script, "sh", ROOT / "systemd/sysctl.d/60-gapless.conf"], text=True
    )
    assert found.strip() == "1"


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


def test_commands_ask_the_main_process(unit: Unit, servers: Servers) -> None:
    unit.configure()
    unit.release(servers.build("v1"))
    unit.start()
    told = unit.box.succeed("gapless", "status", "--json", "--service", unit.name)
    assert json.loads(told)["pid"] == int(unit.show("MainPID"))
    assert (unit.box.root / f"var/lib/gapless/{unit.name}/lock").exists()


def test_what_systemd_tells_gapless_is_not_told_to_the_server(unit: Unit, servers: Servers) -> None:
    unit.configure()
    unit.release(servers.build("v1"))
    unit.start()
    pid = unit.happened("generation_started")["event"]["pid"]
    ours = unit.environment(int(unit.show("MainPID")))
    assert {"NOTIFY_SOCKET", "WATCHDOG_USEC", "SYSTEMD_EXEC_PID"} <= ours.keys()
    its = unit.environment(pid)
    assert not {"WATCHDOG_USEC", "WATCHDOG_PID", "SYSTEMD_EXEC_PID", "MAINPID", "FDSTORE"} & its.keys()
    assert its["NOTIFY_SOCKET"].startswith(f"/run/gapless/{unit.name}/")
    assert its["LISTEN_PID"] == str(pid)
    assert its["LISTEN_FDNAMES"] == "http"


def test_an_ordinary_user_finds_its_files_and_is_found(unit: Unit, servers: Servers) -> None:
    unit.drop_in("User=nobody")
    unit.configure()
    unit.release(servers.build("v1"))
    unit.start()
    unit.release(servers.build("v2"))
    unit.box.systemctl("reload", unit.unit)
    assert unit.box.get(unit.port) == (200, "v2")
    socket = unit.box.root / f"run/gapless/{unit.name}/control.sock"
    nobody = socket.stat().st_uid
    assert nobody != 0
    for who in ((), ("setpriv", f"--reuid={nobody}", "--clear-groups")):
        told = json.loads(unit.box.succeed(*who, "gapless", "status", "--json", "--service", unit.name))
        assert told["pid"] == int(unit.show("MainPID"))


def test_many_files_may_be_open(unit: Unit, servers: Servers) -> None:
    unit.configure()
    unit.release(servers.build("v1"))
    unit.start()
    assert unit.show("LimitNOFILE") == "524288"
    limits = (unit.box.root / f"proc/{unit.show('MainPID')}/limits").read_text()
    soft, hard = next(line for line in limits.splitlines() if line.startswith("Max open files")).split()[3:5]
    assert soft == hard  # 524288, or what this machine allows
    assert int(soft) > 1024


def test_stop_finishes_what_is_open_and_leaves_nothing(unit: Unit, servers: Servers) -> None:
    unit.drop_in("TimeoutStopSec=1s")  # gapless asks for as much as it may take
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


def test_where_it_cannot_be_taken_back_the_server_serves_on_and_the_next_attempt_succeeds_after_its_end(
    unit: Unit, servers: Servers
) -> None:
    """A journal that nobody can read, here."""
    unit.drop_in("RestartSec=50ms")
    unit.configure()
    unit.release(servers.build("v1"))
    unit.start()
    pid = unit.happened("generation_started")["event"]["pid"]
    with Load(servers.load(), unit.box, unit.port) as load:
        (unit.box.root / f"var/lib/gapless/{unit.name}/journal.json").write_text("nothing that is whole")
        unit.box.systemctl("kill", "--kill-who=main", "--signal=KILL", unit.unit)
        refused = unit.said("cannot be taken back")["MESSAGE"]
        for _ in range(5):  # systemd's own limit is five starts in ten seconds
            unit.said("cannot be taken back")
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
    unit.drop_in("RestartSec=1h")
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


def test_stop_and_start_begin_anew(unit: Unit, servers: Servers) -> None:
    unit.configure()
    unit.release(servers.build("v1"))
    unit.start()
    before = unit.show("MainPID")
    unit.release(servers.build("v2"))
    unit.box.systemctl("stop", unit.unit)
    unit.box.systemctl("start", unit.unit)
    assert unit.box.get(unit.port) == (200, "v2")
    assert unit.show("MainPID") != before
    assert len(unit.processes()) == 2
