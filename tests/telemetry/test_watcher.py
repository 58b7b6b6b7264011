"""The watcher on real listeners: it sees who waits, stops when told, and costs little however many there are."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

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


@dataclass
class Time:
    """It goes as it is told, and besides as fast as this process is at work: what takes the processor takes time."""

    gone: float = 0.0
    alarms: list["Alarm"] = field(default_factory=list)

    def now(self) -> float:
        return self.gone + time.thread_time()

    def later(self, pause: float, ring: Callable[[], None]) -> "Alarm":
        self.alarms.append(Alarm(self, self.now() + pause, ring))
        return self.alarms[-1]

    def goes(self, seconds: float) -> None:
        """Ring what is due, each at its time."""
        end = self.now() + seconds
        while due := [each for each in self.alarms if each.at <= end]:
            first = min(due, key=lambda each: each.at)
            self.alarms.remove(first)
            self.gone += max(0.0, first.at - self.now())
            first.ring()
        self.gone += max(0.0, end - self.now())


@dataclass(eq=False)
class Alarm:
    time: Time
    at: float
    ring: Callable[[], None]

    def cancel(self) -> None:
        if self in self.time.alarms:
            self.time.alarms.remove(self)


@pytest.fixture
def clock() -> Time:
    return Time()


def test_it_sees_who_waits_and_for_how_long(listeners: Listeners, clock: Time) -> None:
    watching = Watcher(listeners, lambda: [1], clock)
    began = clock.now()
    with connected(listeners, 1), connected(listeners, 1):
        clock.goes(0.2)
        waited = clock.now() - began
        found = watching.end()
    quiet, busy = found["listeners"]
    assert (quiet["deepest"], quiet["longest_wait"], quiet["generation"]) == (0, 0.0, None)
    assert (busy["name"], busy["deepest"], busy["generation"]) == ("l1", 2, 1)
    assert busy["longest_wait"] <= waited + 0.001
    assert busy["longest_wait"] > 0.1
    assert busy["at_most"] >= 0.2
    assert found["looks"] > 2


def test_by_itself_it_goes_by_the_hosts_clock_and_the_loop(listeners: Listeners) -> None:
    async def watch() -> None:
        looked = asyncio.Event()
        looks = 0

        def sets() -> list[int]:
            nonlocal looks
            looks += 1
            if looks == 3:
                looked.set()
            return [1]

        watching = Watcher(listeners, sets)
        async with asyncio.timeout(20):
            await looked.wait()
        assert watching.end()["looks"] >= 3

    asyncio.run(watch())


def test_only_sets_that_clients_are_sent_to_are_looked_at(listeners: Listeners, clock: Time) -> None:
    watching = Watcher(listeners, list, clock)
    with connected(listeners, 0):
        assert watching.end()["listeners"] == []


def test_who_waits_at_the_first_look_has_waited_since_the_last_at_the_others(listeners: Listeners, clock: Time) -> None:
    exposed: list[int] = []
    watching = Watcher(listeners, lambda: exposed, clock)
    exposed.append(1)
    with connected(listeners, 0):
        clock.gone += 0.01
        busy = watching.end()["listeners"][0]
    assert (busy["deepest"], busy["longest_wait"]) == (1, 0.0)
    assert busy["at_most"] >= 0.01


def test_nothing_is_left_running_when_it_has_ended(listeners: Listeners, clock: Time) -> None:
    watching = Watcher(listeners, lambda: [1], clock)
    watching.attend()
    assert len(clock.alarms) == 1
    assert watching.end()["looks"] == 2
    assert clock.alarms == []


def test_it_looks_often_right_after_a_change_and_ever_less_then(listeners: Listeners, clock: Time) -> None:
    looks = 0

    def sets() -> list[int]:
        nonlocal looks
        looks += 1
        return [1]

    def looks_in(seconds: float) -> int:
        nonlocal looks
        looks = 0
        clock.goes(seconds)
        return looks

    watching = Watcher(listeners, sets, clock)
    at_once, later, at_length = looks_in(0.05), looks_in(0.95), looks_in(1.0)
    assert at_once > 0.05 / watcher.FINE / 2
    assert at_once / 0.05 > 3 * later / 0.95 > 6 * at_length
    assert at_length <= 1.0 / watcher.COARSE + 1
    watching.attend()
    assert looks_in(0.05) > at_once / 2


def test_a_listener_that_cannot_tell_is_passed_over(
    listeners: Listeners, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    def queue(listener: TcpListener, member: int) -> int | None:
        if listener.address.name == "l0":
            raise OSError("no such thing")
        return None if member else 0

    monkeypatch.setattr(TcpListener, "queue", queue)

    found = Watcher(listeners, lambda: [1], clock).end()["listeners"]
    assert [each["longest_wait"] for each in found] == [None, None]


def test_with_many_listeners_the_looks_take_little_of_the_processor(clock: Time) -> None:
    with closing(opened(60)) as listeners:
        began = time.thread_time()
        watching = Watcher(listeners, lambda: [1], clock)
        clock.goes(0.5)
        looks = watching.end()["looks"]
        share = (time.thread_time() - began) / 0.5
    assert looks > 5
    assert share < 0.2
