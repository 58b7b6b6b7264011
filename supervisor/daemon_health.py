"""The ways to look how a generation fares that serves. Each is there only where something follows from it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

from msgspec import Struct

from supervisor.core import due, events
from supervisor.core.model import Failure, Reason
from supervisor.linux import process
from supervisor.readiness.probe import Probe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from supervisor.core.policy import HealthProbe, HttpCheck
    from supervisor.engine.instances import Instances
    from supervisor.engine.loop import Engine
    from supervisor.linux.cgroup import Kills
    from supervisor.linux.listeners import Listeners

_SELDOM = 30.0
_OFTEN = 1.0
"""Seconds between two looks at the memory of one that has room enough, and of one that has hardly any."""

_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


class HealthWays(Struct, frozen=True):
    """Each takes a watch and answers with the event that ends it."""

    _engine: Engine
    _instances: Instances
    _listeners: Listeners

    def table(self) -> Mapping[type[due.Watch], Callable[..., Awaitable[events.Event]]]:
        """Which way is for which watch."""
        return {
            due.AwaitSilence: self._silence,
            due.ProbeHealth: self._probe,
            due.WeighMemory: self._weigh,
            due.AwaitOomKills: self._oom_kills,
        }

    async def _silence(self, watch: due.AwaitSilence) -> events.Event:
        """Its time begins with the watch: what it sent before that to another supervisor is not known."""
        instance = self._instances.find(watch.generation, watch.run)
        assert instance is not None  # noqa: S101 - who serves has its instance until it ends
        if watch.ailing:
            instance.pinged.clear()
            await instance.pinged.wait()
            return self._well(watch, Reason.HUNG)
        begun = self._engine.now()
        while True:
            instance.channel.hear()  # where we were held up ourselves, what was sent meanwhile waits to be read
            left = max(begun, instance.pinged_at) + watch.period - self._engine.now()
            if left <= 0:
                break
            await asyncio.sleep(left)  # a ping wakes nobody up: it moves the end of the wait
        return self._ailing(watch, Reason.HUNG, f"no WATCHDOG=1 for {watch.period:g} s")

    async def _probe(self, watch: due.ProbeHealth) -> events.Event:
        failed = 0
        while True:
            await asyncio.sleep(watch.probe.interval)
            wrong = await self._fault(watch)
            if watch.ailing and not wrong:
                return self._well(watch, Reason.UNHEALTHY)
            failed = failed + 1 if wrong else 0
            if failed >= watch.probe.failures and not watch.ailing:
                return self._ailing(watch, Reason.UNHEALTHY, wrong)

    async def _fault(self, watch: due.ProbeHealth) -> str:
        """What is wrong with it; empty if nothing is."""
        if watch.probe.http is None:
            return await self._unaccepting(watch.sockets, watch.probe)
        return await self._answers(watch.sockets, watch.probe.http)

    async def _unaccepting(self, sockets: int, wanted: HealthProbe) -> str:
        """Where all have one socket, whoever accepts will do: nobody but who serves is meant to."""
        probe = Probe([place.listener for place in self._listeners.of(sockets)], sockets, lambda _: True)
        probe.trust()
        try:
            async with asyncio.timeout(wanted.timeout):
                await probe.accepted()
        except TimeoutError:
            waiting = [str(each) for each in probe.unaccepting or ()]
            return f"it accepted no connection on {', '.join(waiting)} within {wanted.timeout:g} s"
        finally:
            probe.close()
        return ""

    async def _answers(self, sockets: int, check: HttpCheck) -> str:
        from supervisor.readiness.http import Door, fault  # noqa: PLC0415 - most services do without it

        places = self._listeners.of(sockets)
        listener = next((place.listener for place in places if place.name == check.listener), None)
        return "" if listener is None else await fault(Door(listener, sockets, check.tls), check)

    async def _weigh(self, watch: due.WeighMemory) -> events.Event:
        """No event tells of a process that grows: the less room it has, the more often it is looked at."""
        while True:
            used = process.resident(self._instances.pids(watch.generation))
            if watch.ailing and used <= watch.most:
                return self._well(watch, Reason.OUTGROWN)
            if not watch.ailing and used > watch.most:
                return self._ailing(watch, Reason.OUTGROWN, f"{_size(used)} of {_size(watch.most)}")
            room = 1.0 if watch.ailing else 1.0 - used / watch.most
            await asyncio.sleep(max(_OFTEN, room * _SELDOM))

    async def _oom_kills(self, watch: due.AwaitOomKills) -> events.Event:
        """Nothing to wait for where no cgroup counts them. What was killed before this look is not told."""
        instance = self._instances.find(watch.generation, watch.run)
        kills = None if instance is None or instance.leaf is None else instance.leaf.kills()
        if kills is not None:
            try:
                await self._tell_kills(watch, kills)
            finally:
                kills.close()
        return await _forever()

    async def _tell_kills(self, watch: due.AwaitOomKills, kills: Kills) -> None:
        """Until its cgroup is no more."""
        known = kills.count()
        while known is not None:
            await _readable(kills)
            found = kills.count()
            if found is not None and found > known:
                about = {"generation": watch.generation, "run": watch.run}
                self._engine.post(events.OomKilled(at=self._engine.now(), **about, count=found - known))
            known = found
            await asyncio.sleep(_OFTEN)  # the file changes each time that a limit is met, which may be all the time

    def _ailing(
        self, watch: due.AwaitSilence | due.ProbeHealth | due.WeighMemory, reason: Reason, what: str
    ) -> events.Event:
        failure = Failure(reason, what)
        return events.Ailing(at=self._engine.now(), generation=watch.generation, run=watch.run, failure=failure)

    def _well(self, watch: due.AwaitSilence | due.ProbeHealth | due.WeighMemory, reason: Reason) -> events.Event:
        return events.Well(at=self._engine.now(), generation=watch.generation, run=watch.run, reason=reason)


async def _readable(what: Kills) -> None:
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(what.fileno(), told.set)
    try:
        await told.wait()
    finally:
        loop.remove_reader(what.fileno())


async def _forever() -> NoReturn:
    await asyncio.Event().wait()
    raise AssertionError


def _size(count: int) -> str:
    unit, name = next((each for each in _UNITS if count >= each[0]), (1, "bytes"))
    return f"{count / unit:.4g} {name}"
