"""The store of sockets where nobody takes anything: it is offered again for a while, and not for ever."""

import asyncio
import socket
from pathlib import Path

import pytest

from supervisor import daemon_store
from supervisor.daemon_store import Store
from supervisor.linux.address import TcpAddress
from supervisor.linux.listeners import Listeners
from supervisor.linux.sdnotify import Systemd


def test_at_rest_nothing_is_offered_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_store, "_AGAIN", 0.001)
    listeners = Listeners.open([TcpAddress.parse("127.0.0.1:0")])
    listeners.join(0, [each.address for each in listeners])
    systemd = Systemd(str(tmp_path / "nobody"))

    async def offered() -> Store:
        store = Store(systemd, (), ())
        store.keep(listeners)
        while store._again is not None:  # noqa: ASYNC110 - that nothing more is to come is no event
            await asyncio.sleep(0)
        return store

    store = asyncio.run(asyncio.wait_for(offered(), 5))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as somebody:
        somebody.bind(str(tmp_path / "nobody"))
        store.keep(listeners)
        assert somebody.recv(8192).startswith(b"FDSTORE=1\nFDNAME=gapless-")
    listeners.close()
    systemd._socket.close()
