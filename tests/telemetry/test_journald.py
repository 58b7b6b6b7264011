"""The journal's protocol, as journald gets it: on a socket of the test's own, in its place."""

import os
import re
import socket
import struct
from collections.abc import Generator
from pathlib import Path

import pytest

from supervisor.core.outcome import Result
from supervisor.telemetry import journald
from supervisor.telemetry.journald import MESSAGE_IDS, Entry, Outlet, encoded
from tests.harness.builds import ROOT


@pytest.fixture
def reader(tmp_path: Path) -> Generator[socket.socket, None, None]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "socket"))
        made.settimeout(0)
        yield made


@pytest.fixture
def outlet(reader: socket.socket) -> Generator[Outlet, None, None]:
    made = Outlet("web", reader.getsockname())
    yield made
    made.close()


def decoded(data: bytes) -> dict[str, str]:
    """Read as the protocol's page says."""
    found = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (length,) = struct.unpack_from("<Q", data)
            value, data = data[8 : 8 + length], data[8 + length + 1 :]
        found[name.decode()] = value.decode()
    return found


def test_every_field_of_an_event_can_be_selected_by() -> None:
    event = {"event": "handoff_ended", "level": "warning", "at": 1764.5, "handoff": 3, "result": Result.ROLLED_BACK}
    entry = Entry("web")(None, "warning", {**event, "release": None, "reason": "it died\nat once", "ports": [1, 2]})
    assert decoded(entry) == {
        "MESSAGE": 'handoff_ended handoff=3 result="rolled back" reason="it died\\nat once" ports="[1, 2]"',
        "MESSAGE_ID": MESSAGE_IDS["handoff_ended"],
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "gapless",
        "GAPLESS_EVENT": "handoff_ended",
        "GAPLESS_SERVICE": "web",
        "GAPLESS_AT": "1764.500000",
        "GAPLESS_HANDOFF": "3",
        "GAPLESS_RESULT": "rolled back",
        "GAPLESS_REASON": "it died\nat once",
        "GAPLESS_PORTS": "[1, 2]",
    }


def test_a_traceback_is_below_the_message() -> None:
    entry = Entry("web")(None, "critical", {"event": "bug", "level": "critical", "exception": "Traceback:\n  x"})
    assert decoded(entry)["MESSAGE"] == "bug\nTraceback:\n  x"
    assert decoded(entry)["PRIORITY"] == "2"
    assert "MESSAGE_ID" not in decoded(entry)


def test_what_is_no_text_does_not_break_an_entry() -> None:
    assert decoded(encoded({"MESSAGE": "a\udcffb", "X": "y=z"})) == {"MESSAGE": "a\\udcffb", "X": "y=z"}


def test_a_large_entry_goes_as_a_memfd_that_nobody_can_change(reader: socket.socket, outlet: Outlet) -> None:
    entry = encoded({"MESSAGE": "x" * 500_000})
    before = set(Path("/proc/self/fd").iterdir())
    outlet.msg(entry)
    data, fds, _, _ = socket.recv_fds(reader, 1 << 20, 1)
    assert data == b""
    with os.fdopen(fds[0], "rb") as file:
        file.seek(0)
        assert file.read() == entry
        with pytest.raises(OSError, match="Operation not permitted"):
            os.pwrite(file.fileno(), b"y", 0)
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_a_journald_that_does_not_read_holds_nobody_up_and_is_told_what_it_missed(
    reader: socket.socket, outlet: Outlet
) -> None:
    for number in range(3000):
        outlet.info(encoded({"MESSAGE": str(number)}))
    kept = []
    while entry := received(reader):
        kept.append(entry["MESSAGE"])
    assert kept == [str(number) for number in range(len(kept))]
    assert 0 < len(kept) < 3000
    outlet.info(encoded({"MESSAGE": "again"}))
    lost, last = received(reader), received(reader)
    assert lost is not None
    assert (lost["GAPLESS_EVENT"], lost["GAPLESS_COUNT"], lost["PRIORITY"]) == (
        "log_lines_lost",
        str(3000 - len(kept)),
        "4",
    )
    assert last == {"MESSAGE": "again"}


def test_a_journald_that_is_gone_is_no_failure(tmp_path: Path) -> None:
    outlet = Outlet("web", str(tmp_path / "nobody"))
    outlet.error(b"MESSAGE=x\n")
    outlet.error(encoded({"MESSAGE": "x" * 500_000}))
    outlet.close()


def received(reader: socket.socket) -> dict[str, str] | None:
    try:
        return decoded(reader.recv(1 << 16))
    except BlockingIOError:
        return None


def test_only_the_stream_that_is_named_is_the_journal(monkeypatch: pytest.MonkeyPatch, reader: socket.socket) -> None:
    monkeypatch.setattr(journald, "SOCKET", reader.getsockname())
    ours, theirs = os.pipe()
    found = os.fstat(theirs)
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    assert journald.is_behind(theirs)
    with Path("/dev/null").open("wb") as elsewhere:  # as after `gapless run 2>file`
        assert not journald.is_behind(elsewhere.fileno())
    monkeypatch.delenv("JOURNAL_STREAM")
    assert not journald.is_behind(theirs)
    os.close(ours)
    os.close(theirs)


def test_each_event_of_a_life_has_an_id_of_its_own_for_ever() -> None:
    sources = [path.read_text() for path in (ROOT / "supervisor").rglob("*.py")]
    told = {name for source in sources for name in re.findall(r'Happening\(\s*"(\w+)"', source)}
    control = {"control_asked", "control_answered", "control_refused", "control_roles"}
    lacking = (told | control | {"leaving"}) - MESSAGE_IDS.keys()
    assert not lacking, "give each a line in MESSAGE_IDS and in docs/systemd.md, with a uuid4().hex of its own"
    assert len(set(MESSAGE_IDS.values())) == len(MESSAGE_IDS)
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in MESSAGE_IDS.values())
    page = (ROOT / "docs/systemd.md").read_text()
    assert [name for name, known in MESSAGE_IDS.items() if f"| `{name}` | `{known}` |" not in page] == []
