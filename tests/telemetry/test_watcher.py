"""The watcher on real listeners: it sees who waits, stops when told, and costs little however many there are."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from supervisor.linux.address import TcpAddress
from supervisor.linux.listeners import Listeners
from supervisor.linux.tcp import TcpListener
from supervisor.telemetry import watcher
from supervisor.telemetry.watcher import Watcher


def opened(count: int) -> Listeners:
    addresses = [TcpAddress.parse("127.0.0.1:0", name=f"l{number}") for number in range(count)]
    listeners = Listeners.open(addresses)
    listeners.join(1, [listener.address for listener in listeners])
    return listeners


@pytest.fixture
def listeners() -> Iterator[Listeners]:
    with closing(opened(2)) as made:
        yield made


def connected(listeners: Listeners, at: int) -> socket.socket:
    listener = list(listeners)[at]
    assert isinstance(listener, TcpListener)
    return socket.create_connection(listener.bound.sockaddr[:2])


def test_it_sees_who_waits_and_for_how_long(listeners: Listeners) -> None:
    async def watch() -> dict[str, object]:
        watching = Watcher(listeners, lambda: [1])
        began = time.monotonic()
        with connected(listeners, 1), connected(listeners, 1):
            await asyncio.sleep(0.2)
            waited = time.monotonic() - began
            found = watching.end()
        quiet, busy = found["listeners"]
        assert (quiet["deepest"], quiet["longest_wait"], quiet["generation"]) == (0, 0.0, None)
        assert (busy["name"], busy["deepest"], busy["generation"]) == ("l1", 2, 1)
        assert busy["longest_wait"] <= waited + 0.001
        assert busy["at_most"] >= 0.2
        return dict(found)

    found = asyncio.run(watch())
    assert isinstance(found["looks"], int)
    assert found["looks"] > 2


def test_only_sets_that_clients_are_sent_to_are_looked_at(listeners: Listeners) -> None:
    async def watch() -> None:
        watching = Watcher(listeners, list)
        with connected(listeners, 0):
            assert watching.end()["listeners"] == []

    asyncio.run(watch())


def test_who_waits_at_the_first_look_has_waited_since_the_last_at_the_others(listeners: Listeners) -> None:
    async def watch() -> None:
        exposed: list[int] = []
        watching = Watcher(listeners, lambda: exposed)
        exposed.append(1)
        with connected(listeners, 0):
            busy = watching.end()["listeners"][0]
        assert (busy["deepest"], busy["longest_wait"]) == (1, 0.0)
        assert busy["at_most"] > 0

    asyncio.run(watch())


def test_nothing_is_left_running_when_it_has_ended(listeners: Listeners, monkeypatch: pytest.MonkeyPatch) -> None:
    async def watch() -> int:
        watching = Watcher(listeners, lambda: [1])
        watching.attend()
        found = watching.end()
        looks: list[float] = []
        monkeypatch.setattr(Watcher, "_look", lambda _: looks.append(time.monotonic()))
        await asyncio.sleep(3 * watcher.COARSE)
        assert found["looks"] == 2
        return len(looks)

    assert asyncio.run(watch()) == 0


def test_it_looks_often_for_a_while_after_a_change_and_seldom_else(
    listeners: Listeners, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "ATTENTIVE", 0.2)

    async def watch() -> tuple[int, int]:
        watching = Watcher(listeners, lambda: [1])
        await asyncio.sleep(0.2)
        often = watching._looks
        await asyncio.sleep(0.5)
        return often, watching.end()["looks"] - often

    often, seldom = asyncio.run(watch())
    assert often > seldom
    assert seldom <= 0.5 / watcher.COARSE + 3


def test_a_listener_that_cannot_tell_is_passed_over(listeners: Listeners, monkeypatch: pytest.MonkeyPatch) -> None:
    def queue(listener: TcpListener, member: int) -> int | None:
        if listener.address.name == "l0":
            raise OSError("no such thing")
        return None if member else 0

    monkeypatch.setattr(TcpListener, "queue", queue)

    async def watch() -> list[dict[str, object]]:
        return list(Watcher(listeners, lambda: [1]).end()["listeners"])

    assert [each["longest_wait"] for each in asyncio.run(watch())] == [None, None]


def test_with_many_listeners_the_looks_take_little_of_the_processor() -> None:
    async def watch(listeners: Listeners) -> tuple[float, int]:
        began = time.thread_time()
        watching = Watcher(listeners, lambda: [1])
        await asyncio.sleep(0.5)
        looks = watching.end()["looks"]
        return (time.thread_time() - began) / 0.5, looks

    with closing(opened(60)) as listeners:
        share, looks = asyncio.run(watch(listeners))
    assert looks > 5
    assert share < 0.2
