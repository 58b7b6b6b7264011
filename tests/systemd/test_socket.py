"""systemd/gapless@.socket beside gapless@.service, under a real systemd: docs/systemd.md."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.systemd.conftest import ROOT, Servers
from tests.systemd.unit import Load, Unit


@contextmanager
def socket_unit(unit: Unit, options: str) -> Iterator[None]:
    """Inside, systemd holds the unit's address by a socket unit."""
    name = f"gapless@{unit.name}.socket"
    units = unit.box.root / "run/systemd/system"
    shutil.copy(ROOT / "systemd/gapless@.socket", units)
    (units / f"{name}.d").mkdir()
    (units / f"{name}.d/address.conf").write_text(f"[Socket]\nListenStream=127.0.0.1:{unit.port}\n{options}\n")
    unit.box.systemctl("daemon-reload")
    unit.box.systemctl("start", name)
    try:
        yield
    finally:
        unit.box.run("systemctl", "stop", name)


@pytest.mark.parametrize("options", ["", "ReusePort=no"], ids=["ReusePort", "plain"])
def test_reload_loses_nothing_and_clients_wait_while_the_service_is_down(
    unit: Unit, servers: Servers, options: str
) -> None:
    with socket_unit(unit, options):
        unit.configure()
        unit.release(servers.build("v1"))
        unit.start()
        unit.happened("socket_adopted", name="http")
        with Load(servers.load(), unit.box, unit.port) as load:
            for version in ("v2", "v1"):
                unit.release(servers.build(version))
                unit.box.systemctl("reload", unit.unit)
                unit.happened("handoff_ended", result="committed")
                unit.happened("generation_ended")
                load.answered_by(version)
            summary = load.end()
        assert summary["failed"] == 0, summary["failures"]
        unit.box.systemctl("stop", unit.unit)
        assert unit.show("ActiveState") == "inactive"
        assert unit.box.get(unit.port) == (200, "v1")  # it waits, and systemd starts the service for it


def test_a_crash_leaves_nobody_in_a_socket_that_no_server_reads(unit: Unit, servers: Servers) -> None:
    """Spares are the supervisor's alone: without the store one would leave the group at its end, and move another."""
    with socket_unit(unit, ""):
        unit.configure()
        unit.release(servers.build("v1"))
        unit.start()
        unit.happened("socket_adopted", name="http")
        with Load(servers.load(), unit.box, unit.port) as load:
            for version in ("v2", "v1", "v2"):
                unit.release(servers.build(version))
                unit.box.systemctl("reload", unit.unit)
                unit.happened("generation_ended")
                unit.box.systemctl("kill", "--kill-who=main", "--signal=KILL", unit.unit)
                unit.happened("taken_over")
                load.answered_by(version)
            summary = load.end()
        assert summary["failed"] == 0, summary["failures"]
