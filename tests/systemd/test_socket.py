"""A socket unit beside gapless@.service, under a real systemd: docs/systemd.md."""

import pytest

from tests.systemd.conftest import Servers
from tests.systemd.unit import Load, Unit

SOCKET = """\
[Socket]
ListenStream=127.0.0.1:{port}
FileDescriptorName=http
{options}
Service={unit}
"""


@pytest.mark.parametrize("options", ["ReusePort=yes", ""], ids=["ReusePort", "plain"])
def test_reload_loses_nothing_and_clients_wait_while_the_service_is_down(
    unit: Unit, servers: Servers, options: str
) -> None:
    unit.configure()
    unit.release(servers.build("v1"))
    name = f"{unit.name}.socket"
    text = SOCKET.format(port=unit.port, options=options, unit=unit.unit)
    (unit.box.root / f"run/systemd/system/{name}").write_text(text)
    unit.box.systemctl("daemon-reload")
    unit.box.systemctl("start", name)
    try:
        unit.start()
        unit.happened("socket_adopted", name="http")
        with Load(servers.load(), unit.box, unit.port) as load:
            for version in ("v2", "v1", "v2"):
                unit.release(servers.build(version))
                unit.box.systemctl("reload", unit.unit)
                unit.happened("handoff_ended", result="committed")
                unit.happened("generation_ended")
                load.answered_by(version)
            summary = load.end()
        assert summary["failed"] == 0, summary["failures"]
        unit.box.systemctl("stop", unit.unit)
        assert unit.show("ActiveState") == "inactive"
        assert unit.box.get(unit.port) == (200, "v2")  # it waits, and systemd starts the service for it
    finally:
        unit.box.run("systemctl", "stop", name)
