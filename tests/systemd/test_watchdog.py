"""WatchdogSec under a real systemd: answered while the loop turns, and what comes of a supervisor that hangs."""

from tests.systemd.conftest import Servers
from tests.systemd.unit import Load, Unit

INTERVAL = 2
"""Seconds."""


def test_one_that_hangs_is_ended_and_the_server_serves_on(unit: Unit, servers: Servers) -> None:
    unit.drop_in(f"WatchdogSec={INTERVAL}s", "RestartSec=100ms")
    unit.configure()
    unit.release(servers.build("v1"))
    unit.start()
    main = unit.show("MainPID")
    began = int(unit.show("ActiveEnterTimestampMonotonic"))
    unit.wait(lambda: int(unit.show("WatchdogTimestampMonotonic")) - began > INTERVAL * 1_000_000, "answers for long")
    assert (unit.show("MainPID"), unit.show("NRestarts")) == (main, "0")
    server = unit.happened("generation_started")["event"]["pid"]
    with Load(servers.load(), unit.box, unit.port) as load:
        unit.box.succeed("kill", "-STOP", main)
        unit.said("Watchdog timeout")
        assert unit.said("Fatal Python error: Aborted")["_PID"] == main  # and below it, where it was
        unit.said("Scheduled restart job")
        load.answered_by("v1")
        assert load.end()["failed"] == 0
    assert server in unit.processes()
