"""The ends of gapless under systemd: a stop leaves nothing, a restart leaves the server."""

from contextlib import closing

import pytest

from tests.systemd.conftest import Servers
from tests.systemd.test_hardening import PRIVILEGED, harden
from tests.systemd.unit import Load, Unit

# systemd sends CONT after every TERM, so STOP would not do.
FREEZE = """
cd "/sys/fs/cgroup$1"
mkdir hung
echo "$2" >hung/cgroup.procs
echo 1 >hung/cgroup.freeze
"""


CRASH = ("kill", "--kill-who=main", "--signal=KILL")


@pytest.mark.parametrize("how", [("restart",), CRASH], ids=["restart", "crash"])
@pytest.mark.parametrize("hardened", [False, True], ids=["root", "hardened"])
def test_the_server_serves_on_and_is_taken_back(
    unit: Unit, servers: Servers, how: tuple[str, ...], *, hardened: bool
) -> None:
    if hardened:
        harden(unit)
        unit.port = PRIVILEGED
    unit.configure()
    unit.release(servers.build("v1"))
    unit.start()
    pid = unit.happened("generation_started")["event"]["pid"]
    cgroup = unit.cgroup(pid)
    with Load(servers.load(), unit.box, unit.port) as load:
        for _ in range(2):
            before = unit.show("MainPID")
            unit.box.systemctl(*how, unit.unit)
            assert unit.happened("taken_over")["_PID"] != before
            unit.said("Started")
            assert unit.show("StatusText").startswith("serving release v1")
        load.answered_by("v1")
        unit.release(servers.build("v2"))
        unit.box.systemctl("reload", unit.unit)
        load.answered_by("v2")
        assert load.end()["failed"] == 0
    assert unit.happened("generation_started")["event"]["generation"] == 2
    assert cgroup.endswith(f"/{unit.name}.gen-1.1")
    assert (unit.show("ActiveState"), unit.history()) == ("active", ["committed"])
    unit.box.systemctl("stop", unit.unit)
    assert (unit.show("Result"), unit.processes()) == ("success", [])


def test_a_restart_on_probation_lets_the_handoff_go_on(unit: Unit, servers: Servers) -> None:
    unit.configure(probation="3s")
    unit.release(servers.build("v1"))
    unit.start()
    unit.release(servers.build("v2"))
    with Load(servers.load(), unit.box, unit.port) as load:
        unit.box.systemctl("kill", "--kill-who=main", "--signal=HUP", unit.unit)
        unit.happened("phase", phase="probation")
        unit.box.systemctl("restart", unit.unit)
        unit.happened("handoff_ended", result="committed")
        load.answered_by("v2")
        assert load.end()["failed"] == 0


def test_a_stop_finishes_what_a_server_that_was_taken_back_has_open(unit: Unit, servers: Servers) -> None:
    unit.configure("-fork-grandchild", "-log-connections=-")
    unit.release(servers.build("v1"))
    unit.start()
    unit.box.systemctl("restart", unit.unit)
    unit.happened("taken_over")
    with closing(unit.box.ask(unit.port, "/slow?ms=1500")) as open_request:
        unit.said(f"conn {open_request.sock.getsockname()[1]} ")
        unit.box.systemctl("stop", unit.unit)
        assert open_request.getresponse().status == 200
    assert (unit.show("Result"), unit.show("ExecMainStatus"), unit.processes()) == ("success", "0", [])
    assert not (unit.box.root / f"run/gapless/{unit.name}").exists()


def test_a_stop_of_a_gapless_that_hangs_leaves_nothing(unit: Unit, servers: Servers) -> None:
    unit.drop_in("TimeoutStopSec=1s")
    unit.configure("-fork-grandchild")
    unit.release(servers.build("v1"))
    unit.start()
    unit.box.succeed("sh", "-euc", FREEZE, "sh", unit.show("ControlGroup"), unit.show("MainPID"))
    assert unit.box.get(unit.port) == (200, "v1")
    unit.box.systemctl("stop", unit.unit)
    assert unit.show("Result") == "timeout"
    unit.wait(lambda: unit.processes() == [], "the end of all processes")
