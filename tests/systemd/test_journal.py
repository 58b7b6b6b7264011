"""gapless's log in a real journal: fields to select by, beside the lines of the server."""

import json

from supervisor.telemetry.journald import MESSAGE_IDS
from tests.systemd.box import Box
from tests.systemd.conftest import Servers, python
from tests.systemd.unit import Unit


def test_events_have_fields_and_the_server_has_lines(unit: Unit, servers: Servers) -> None:
    unit.configure("-log-connections=-")
    unit.release(servers.build("v1"))
    unit.start()
    found = unit.box.succeed(
        "journalctl", "--no-pager", "--output=json", f"MESSAGE_ID={MESSAGE_IDS['generation_ready']}",
        f"GAPLESS_SERVICE={unit.name}",
    )  # fmt: skip
    entry = json.loads(found)
    release = entry["GAPLESS_RELEASE"]
    assert entry["MESSAGE"].startswith(f"generation_ready generation=1 release={release} after=")
    assert (entry["GAPLESS_GENERATION"], entry["PRIORITY"], entry["_TRANSPORT"]) == ("1", "6", "journal")
    assert (entry["_SYSTEMD_UNIT"], entry["_PID"]) == (unit.unit, unit.show("MainPID"))
    assert unit.box.get(unit.port) == (200, "v1")
    line = unit.said("conn ")
    assert (line["_TRANSPORT"], line["event"]) == ("stdout", {})
    unit.box.succeed("kill", "-KILL", line["_PID"])
    assert unit.happened("generation_down")["PRIORITY"] == "4"


def test_journald_takes_an_entry_that_is_large(box: Box) -> None:
    box.succeed(*python("from supervisor.telemetry.journald import Entry, Outlet\n"
                        "large = {'event': 'bug', 'level': 'error', 'what': 'x' * 500_000 + '\\n'}\n"
                        "Outlet('large').msg(Entry('large')(None, '', large))"))  # fmt: skip
    box.succeed("journalctl", "--sync")
    found = box.succeed("journalctl", "--no-pager", "--output=json", "--all", "GAPLESS_SERVICE=large")
    assert json.loads(found)["GAPLESS_WHAT"] == "x" * 500_000 + "\n"
