"""The ways to look that need several rooms: may this release run, is this generation ready, what is its digest."""

from __future__ import annotations

import asyncio
from threading import Event
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct, field

from supervisor.core import due, events
from supervisor.core.clearance import is_asked
from supervisor.core.model import ANYWHERE, Ask, Failure, Reason
from supervisor.core.value import replace
from supervisor.engine.mending import mend
from supervisor.errors import ConfigurationError, HostError, ReleaseError
from supervisor.linux import process
from supervisor.linux.inherit import in_thread
from supervisor.readiness.channel import Channel, ClosedWithoutWordError
from supervisor.readiness.probe import Probe
from supervisor.readiness.ready import Terms, ready
from supervisor.releases.choose import choose, leads_to, recall_any
from supervisor.releases.digest import digest, digest_at_leisure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from supervisor.config.settings import Settings
    from supervisor.config.source import Source
    from supervisor.core.access import Admission
    from supervisor.core.launch import Launch
    from supervisor.core.model import Release
    from supervisor.core.policy import HttpCheck, WarmUp
    from supervisor.daemon_clearance import Clearances
    from supervisor.daemon_follow import Follow
    from supervisor.engine.instances import Instance, Instances
    from supervisor.engine.loop import Engine
    from supervisor.linux.listeners import Listeners
    from supervisor.readiness.http import Door

_log = structlog.get_logger()

_UNTIL_DIGESTED = 0.25
"""Seconds that a server has for its start before all of its file is read, which would be in the way of that."""

_BETWEEN_PIECES = 0.005
"""Seconds between two pieces of a file that is read while it serves."""

_SPARE = 1.0
"""Seconds that a deadline is kept away from what ends by itself before it."""


class _Current(Struct):
    """Where the store's `current` led when a request was read, as soon as that is known."""

    leads_to: str | None = ANYWHERE


class Ways(Struct, frozen=True):
    """Each takes a watch and answers with the event that ends it."""

    _engine: Engine
    _instances: Instances
    _listeners: Listeners
    _source: Source
    _running: Settings
    _let_in: Callable[[Admission], None]
    """Change who may use the control socket. Raises HostError."""
    _follow: Follow
    _clearances: Clearances
    _probes: dict[int, Probe] = field(default_factory=dict)
    """Under way, by generation."""

    def table(self) -> Mapping[type[due.Watch], Callable[..., Awaitable[events.Event]]]:
        """Which way is for which watch."""
        return {due.VerifyRelease: self._verify, due.AwaitReady: self._await_ready, due.DigestFile: self._digest}

    def unaccepting(self, generation: int, sockets: int | None) -> tuple[str, ...] | None:
        """The listeners on which a generation has not accepted its probe yet, by name; None if none is under way."""
        probe = self._probes.get(generation)
        waiting = None if probe is None else probe.unaccepting
        if waiting is None or sockets is None:
            return None
        return tuple(place.name for place in self._listeners.of(sockets) if place.listener in waiting)

    async def _verify(self, watch: due.VerifyRelease) -> events.Event:
        seen = _Current()
        try:
            return await self._verified(watch, seen)
        except ConfigurationError as refused:
            failure = Failure(Reason.INVALID_CONFIGURATION, str(refused))
        except ReleaseError as refused:
            failure = Failure(Reason.BAD_RELEASE, str(refused))
        except HostError as refused:
            failure = Failure(Reason.PREFLIGHT, str(refused))
        except (OSError, RuntimeError) as refused:  # no file descriptor, no thread
            failure = Failure(Reason.NO_MEANS, str(refused))
        except Exception as odd:  # noqa: BLE001 - a verification has no deadline: all that is asked for would wait for ever
            _log.critical("bug", what=f"handoff {watch.handoff} could not be verified", exc_info=True)
            failure = Failure(Reason.BAD_RELEASE, f"a fault of gapless itself, please report it: {odd!r}")
        return self._refused(watch, failure, seen)

    async def _verified(self, watch: due.VerifyRelease, seen: _Current) -> events.Event:
        """What is to run, if it may. Raises GaplessError, OSError or RuntimeError."""
        if watch.request.ask is not Ask.UPGRADE and watch.previous is not None:
            seen.leads_to = leads_to(watch.previous.launch)
            release, policy = await in_thread(recall_any, watch.previous), watch.policy or self._engine.state.policy
        else:
            settings = await self._source.now()
            seen.leads_to = leads_to(settings.launch)
            self._refuse_what_needs_a_restart(settings)
            self._accept(settings.admission)
            self._follow.as_configured(settings)
            release, policy = await self._chosen(settings.launch, watch.request.version), settings.policy
            if is_asked(watch.request.ask) and self._engine.state.record.holds(release) is None:
                release, failure = await self._clearances.cleared(watch.handoff, release, settings)
                if failure is not None:
                    return self._refused(watch, failure, seen)
        now = self._engine.now()
        return events.Verified(at=now, handoff=watch.handoff, release=release, policy=policy, current=seen.leads_to)

    def _refused(self, watch: due.VerifyRelease, failure: Failure, seen: _Current) -> events.Event:
        now = self._engine.now()
        return events.Refused(at=now, handoff=watch.handoff, failure=failure, current=seen.leads_to)

    async def _chosen(self, launch: Launch, version: str | None) -> Release:
        """In a thread where all of a version is read. Raises ReleaseError or OSError."""
        in_store = launch.store is not None or version is not None
        return await self._known(await in_thread(choose, launch, version) if in_store else choose(launch))

    async def _known(self, release: Release) -> Release:
        """With its digest where some are in quarantine: it may be one of them by another name. Raises OSError."""
        held = self._engine.state.record.quarantine
        for each in held:
            if each.release.sha256 is None:  # it failed too often before its file had been read
                self._engine.post(await self._digested(each.release, pause=0))
        if not held or release.sha256 is not None:
            return release
        return replace(release, sha256=await in_thread(digest, release.path))

    def _refuse_what_needs_a_restart(self, new: Settings) -> None:
        old = self._running
        for key, was, now in (
            ("service.name", old.service, new.service),
            ("service.state_dir", old.state_dir, new.state_dir),
            ("control.socket", old.control, new.control),
        ):
            if was != now:
                raise ConfigurationError(f"{key} has changed: that takes a restart of gapless, not a handoff")

    def _accept(self, admission: Admission) -> None:
        """Who may do what is no release's affair: it holds from here on, whatever comes of the handoff.

        Else a broken release would keep a right alive that was taken away, and a rollback would bring it back.
        """
        try:
            self._let_in(admission)
        except HostError as refused:
            raise ConfigurationError(f"[control]: {refused}") from refused

    async def _await_ready(self, watch: due.AwaitReady) -> events.Event:
        about = {"generation": watch.generation, "run": watch.run}
        instance = self._instances.find(watch.generation, watch.run)
        assert instance is not None  # noqa: S101 - a run that starts has its instance until it ends
        assert isinstance(instance.channel, Channel)  # noqa: S101 - made by _open_channel
        terms = _terms(watch, missed=instance.channel.may_have_missed or self._may_miss_a_message(instance))

        spoke_at: float | None = None

        def spoke(how: str) -> None:
            nonlocal spoke_at
            now = self._engine.now()
            probe.trust()
            if watch.warm_up is None and (not terms.probe_after_word or probe.look()):
                spoke_at = now  # it is ready with that, and a step for each would be twice the time until it serves
                return
            self._engine.post(events.Spoke(at=now, **about, how=how))

        def owns(inode: int) -> bool:
            return any(process.holds_socket(pid, frozenset((inode,))) for pid in self._instances.pids(watch.generation))

        now = self._engine.now()
        self._engine.rehearse(events.Ready(at=now, **about, how="pipe", spoke_at=now))
        listeners = [place.listener for place in self._listeners.of(watch.sockets)]
        probe = self._probes[watch.generation] = Probe(listeners, watch.sockets, owns)
        try:
            how = await (self._well(watch, watch.http) if watch.http else ready(instance.channel, probe, terms, spoke))
        except ClosedWithoutWordError:
            return events.NotReady(at=self._engine.now(), **about, failure=Failure(Reason.CLOSED_READY))
        finally:
            probe.close()
            if self._probes.get(watch.generation) is probe:  # and not the next run's, which may have begun
                del self._probes[watch.generation]
            mend(self._listeners)
        if watch.warm_up is not None:
            await self._warm_up(watch, watch.warm_up)
        return events.Ready(at=self._engine.now(), **about, how=how, spoke_at=spoke_at)

    def _may_miss_a_message(self, instance: Instance) -> bool:
        """What is sent to NOTIFY_SOCKET while no supervisor lives is lost; a generation before it has spoken so."""
        speaks = any(each.spoke == "notify" for each in self._engine.state.generations)
        return speaks and instance.taken_back

    async def _well(self, watch: due.AwaitReady, check: HttpCheck) -> str:
        from supervisor.readiness.http import well  # noqa: PLC0415 - most services do without it

        def seen(what: str) -> None:
            about = {"generation": watch.generation, "run": watch.run}
            self._engine.post(events.Seen(at=self._engine.now(), **about, what=what))

        await well(self._door(watch, check), check, seen)
        return "http"

    async def _warm_up(self, watch: due.AwaitReady, wanted: WarmUp) -> None:
        """What it takes does not count against the time in which the generation is to be ready."""
        from supervisor.readiness.http import warm_up  # noqa: PLC0415 - most services do without it

        now, about = self._engine.now(), {"generation": watch.generation, "run": watch.run}
        self._engine.post(events.Extended(at=now, **about, until=now + wanted.timeout + _SPARE))
        warmth = await warm_up(self._door(watch, wanted), wanted)
        spent = round(self._engine.now() - now, 3)
        _log.info("warmed_up", **about, answered=warmth.answered, failed=warmth.failed, seconds=spent)

    def _door(self, watch: due.AwaitReady, wanted: HttpCheck | WarmUp) -> Door:
        from supervisor.readiness.http import Door  # noqa: PLC0415 - most services do without it

        places = self._listeners.of(watch.sockets)
        listener = next(place.listener for place in places if place.name == wanted.listener)
        return Door(listener, watch.sockets, wanted.tls)

    async def _digest(self, watch: due.DigestFile) -> events.Event:
        await asyncio.sleep(_UNTIL_DIGESTED)
        return await self._digested(watch.release, _BETWEEN_PIECES)

    async def _digested(self, release: Release, pause: float) -> events.Digested:
        """`pause` is in seconds, between pieces. Whoever waits no longer has the reading end as well."""
        over = Event()
        try:
            found = await in_thread(digest_at_leisure, release, pause, over)
        except (OSError, RuntimeError) as refused:  # RuntimeError: the host has no thread for us (RLIMIT_NPROC)
            _log.warning("digest_failed", release=release.id, reason=str(refused))
            found = ""
        finally:
            over.set()
        return events.Digested(at=self._engine.now(), release=release.id, sha256=found)


def _terms(watch: due.AwaitReady, *, missed: bool) -> Terms:
    """`missed`: it may have said its word while nobody was there to hear it. Then that it accepts has to be enough."""
    if not missed:
        return Terms(watch.method, probe_after_word=watch.probe, silence_counts=watch.silence_counts)
    method = "auto" if watch.method == "auto" else "accept"
    return Terms(method, probe_after_word=watch.probe, silence_counts=True)
