"""systemd's store of file descriptors, as our own words fill and empty it."""

import time
from collections.abc import Iterator

import pytest

from tests.systemd.box import Box
from tests.systemd.conftest import Servers, python
from tests.systemd.unit import PATIENCE, Unit

UNIT = "keeper.service"

KEEPER = """
import os, signal, socket
from supervisor.linux.sdnotify import Systemd
systemd = Systemd.from_environment()
found = os.environ.get("LISTEN_FDNAMES", "")
if found:
    systemd.remove("sockets")
else:
    reader, writer = os.pipe()
    os.close(reader)
    systemd.store("pipe that nobody reads", [writer])
    systemd.store("sockets", [socket.socket().detach() for _ in range(3)])
systemd.tell(READY=1, STATUS=found)
signal.pause()
"""


@pytest.fixture
def keeper(box: Box) -> Iterator[Box]:
    properties = ("FileDescriptorStoreMax=100", "NotifyAccess=main", "Type=notify")
    asked = [f"--property={each}" for each in properties]
    box.succeed("systemd-run", f"--unit={UNIT}", *asked, "--", *python(KEEPER))
    yield box
    box.systemctl("stop", UNIT)


def show(box: Box, name: str) -> str:
    return box.systemctl("show", f"--property={name}", "--value", UNIT).strip()


def test_what_was_stored_is_there_after_a_restart_until_it_is_removed(keeper: Box) -> None:
    assert show(keeper, "NFileDescriptorStore") == "4"
    keeper.systemctl("restart", UNIT)
    assert sorted(show(keeper, "StatusText").split(":")) == ["pipe that nobody reads", *["sockets"] * 3]
    until = time.monotonic() + PATIENCE
    while show(keeper, "NFileDescriptorStore") != "1":
        assert time.monotonic() < until


def test_the_barrier_is_met_when_all_before_it_was_acted_upon(keeper: Box) -> None:
    program = """
import os
from supervisor.linux.sdnotify import Systemd
os.environ["NOTIFY_SOCKET"] = "/run/systemd/notify"
assert Systemd.from_environment().caught_up()
"""
    assert keeper.succeed(*python(program)) == ""


@pytest.fixture
def serving(unit: Unit, servers: Servers) -> Unit:
    unit.configure()
    unit.release(servers.build("v1"))
    unit.start()
    unit.wait(lambda: kept(unit) == 1, "its socket is kept")
    return unit


def kept(unit: Unit) -> int:
    return int(unit.show("NFileDescriptorStore"))


def test_exactly_the_sockets_that_are_in_use_are_kept(serving: Unit, servers: Servers) -> None:
    for version in ("v2", "v1"):
        serving.release(servers.build(version))
        serving.box.systemctl("reload", serving.unit)
        serving.happened("generation_ended")
        serving.wait(lambda: kept(serving) == 1, "the old one's socket is dropped")
    serving.box.systemctl("restart", serving.unit)
    serving.happened("taken_over")
    serving.wait(lambda: kept(serving) == 1, "it is kept once")
    serving.box.systemctl("stop", serving.unit)
    assert kept(serving) == 0


@pytest.mark.parametrize("times", range(3))
def test_clients_wait_while_supervisor_and_server_are_both_dead(serving: Unit, times: int) -> None:
    del times
    serving.box.systemctl("kill", "--kill-who=all", "--signal=KILL", serving.unit)
    assert serving.box.get(serving.port) == (200, "v1")
    serving.happened("taken_over")
    serving.happened("generation_ready")
    assert serving.show("ActiveState") == "active"


def test_what_nobody_goes_on_with_is_not_in_the_way(serving: Unit) -> None:
    journal = serving.box.root / f"var/lib/gapless/{serving.name}/journal.json"
    journal.write_text("damaged")
    serving.box.systemctl("kill", "--kill-who=all", "--signal=KILL", serving.unit)
    serving.happened("journal_unreadable")
    serving.happened("generation_ready")
    assert serving.box.get(serving.port) == (200, "v1")
    serving.wait(lambda: kept(serving) == 1, "the new socket alone is kept")


def test_a_server_without_a_journal_keeps_its_socket(serving: Unit) -> None:
    journal = serving.box.root / f"var/lib/gapless/{serving.name}/journal.json"
    journal.unlink()
    serving.box.systemctl("kill", "--kill-who=main", "--signal=KILL", serving.unit)
    serving.said("cannot be taken back without it")
    assert serving.box.get(serving.port) == (200, "v1")
    assert kept(serving) == 1


def test_a_server_that_shows_nothing_keeps_its_socket_too(unit: Unit, servers: Servers) -> None:
    """As nginx does, or whoever sets its title: it is known by what it holds."""
    unit.configure()
    text = (unit.box.root / f"etc/gapless/{unit.name}.toml").read_text()
    hidden = text.replace('command = ["', 'command = ["/usr/bin/env", "-i", "LISTEN_FD=3", "')
    (unit.box.root / f"etc/gapless/{unit.name}.toml").write_text(hidden)
    unit.release(servers.build("v1"))
    unit.start()
    unit.wait(lambda: kept(unit) == 1, "its socket is kept")
    (unit.box.root / f"var/lib/gapless/{unit.name}/journal.json").write_text("damaged")
    unit.box.systemctl("kill", "--kill-who=main", "--signal=KILL", unit.unit)
    unit.said("cannot be taken back without it")
    assert unit.box.get(unit.port) == (200, "v1")


def test_where_there_is_no_room_for_all_it_begins_anew(unit: Unit, servers: Servers) -> None:
    unit.drop_in("FileDescriptorStoreMax=1")
    unit.configure()
    path = unit.box.root / f"etc/gapless/{unit.name}.toml"
    more = f'[[listen]]\nname = "more"\naddress = "127.0.0.1:{unit.port + 1000}"\n'
    path.write_text(path.read_text().replace("[ready]", f"{more}[ready]"))
    unit.release(servers.build("v1"))
    unit.start()
    unit.wait(lambda: kept(unit) == 1, "one of them is kept")
    unit.box.systemctl("kill", "--kill-who=all", "--signal=KILL", unit.unit)
    unit.happened("sockets_not_taken_back")
    unit.happened("generation_ready")
    assert unit.box.get(unit.port) == unit.box.get(unit.port + 1000) == (200, "v1")


def test_what_is_kept_is_dropped_after_a_replacement_in_place(serving: Unit, servers: Servers) -> None:
    serving.box.systemctl("kill", "--kill-who=main", "--signal=USR2", serving.unit)
    serving.happened("taken_over")
    serving.release(servers.build("v2"))
    serving.box.systemctl("reload", serving.unit)
    serving.happened("generation_ended")
    serving.wait(lambda: kept(serving) == 1, "the old one's socket is dropped")
