"""systemd's store of file descriptors, as our own words fill and empty it."""

import time
from collections.abc import Iterator

import pytest

from tests.systemd.box import Box
from tests.systemd.conftest import python
from tests.systemd.unit import PATIENCE

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
