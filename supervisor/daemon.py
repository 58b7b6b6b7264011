"""The daemon: builds every part and wires them. With `daemon_ways`, all that knows every name."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from typing import TYPE_CHECKING, Any

import structlog
import uvloop

from supervisor import __version__
from supervisor.control.api import BadRequestError
from supervisor.control.clock import Clock
from supervisor.control.desk import ABORT, KEPT, Desk
from supervisor.control.entrance import Entrance
from supervisor.control.explain import as_documents, explain, waiting
from supervisor.control.server import ControlServer
from supervisor.control.status import document, quarantine
from supervisor.core import due, effects, events
from supervisor.core.model import Mode
from supervisor.daemon_asking import request_of
from supervisor.daemon_audit import Accounts
from supervisor.daemon_beginning import Beginning, Ground, begin
from supervisor.daemon_channels import Channels
from supervisor.daemon_clearance import Clearances
from supervisor.daemon_current import point
from supervisor.daemon_follow import Follow
from supervisor.daemon_given import MOST_LISTENERS, Given
from supervisor.daemon_health import HealthWays
from supervisor.daemon_reexec import Reexec
from supervisor.daemon_sights import Sights
from supervisor.daemon_signals import Signals
from supervisor.daemon_systemd import AboveUs
from supervisor.daemon_telling import Telling
from supervisor.daemon_ways import Ways
from supervisor.engine.ahead import Ahead
from supervisor.engine.containment import Containment
from supervisor.engine.executor import Executor
from supervisor.engine.history import History
from supervisor.engine.instances import Instances
from supervisor.engine.journal import Journal
from supervisor.engine.lookout import Lookout
from supervisor.engine.loop import Engine, Step
from supervisor.engine.losses import Losses
from supervisor.engine.whereabouts import whereabouts
from supervisor.errors import OperatorError
from supervisor.linux import process, sockdiag
from supervisor.linux.inherit import heed_signals, hold_signals
from supervisor.linux.listener import is_handed
from supervisor.linux.lock import Lock
from supervisor.paths import control_socket, runtime_dir, state_dir
from supervisor.releases.choose import choose_again
from supervisor.releases.exact import opened
from supervisor.telemetry.audit import Audit
from supervisor.telemetry.log import configure as configure_log

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from supervisor.config.settings import Settings
    from supervisor.config.source import Source
    from supervisor.control.api import Terms
    from supervisor.control.desk import Promise
    from supervisor.core.access import Admission
    from supervisor.linux.listeners import Place
    from supervisor.linux.peer import Peer

_log = structlog.get_logger()

_LAST_ANSWER = 0.05
"""Seconds between the word that the supervisor will be replaced and its end, in which that word reaches who asked."""

DRAINED, CUT_SHORT = 0, 6
"""Exit statuses: everything ended by itself; something had to be killed."""


def run(source: Source, given: Given) -> int:
    """Supervise one service until it is stopped. The reading of its configuration has begun.

    Returns the exit status. Raises OperatorError or HostError if it cannot begin; nothing has been started then.
    """
    settings = source.first()
    if len(settings.launch.listen) > MOST_LISTENERS:
        raise OperatorError(f"{len(settings.launch.listen)} listeners are too many: {MOST_LISTENERS} at most")
    return uvloop.run(_run(settings, source, given))


async def _run(settings: Settings, source: Source, given: Given) -> int:
    name = settings.service
    lock = Lock(state_dir(name, settings.state_dir) / "lock", f"service {name}")
    configure_log(name)
    process.become_subreaper()
    above = AboveUs.from_environment(given)
    store = None if above is None else above.store
    ground = Ground(settings=settings, given=given, containment=Containment.of(name), store=store)
    beginning = begin(ground)
    entrance = Entrance(control_socket(name, settings.control), settings.admission)
    daemon = Daemon(source, ground, beginning, above, entrance)
    server = ControlServer(entrance, daemon)
    await server.start()
    try:
        daemon.start(beginning)
        gc.freeze()  # all of this stays: to go through it again takes 20 ms, and might come in the middle of a shift
        return await daemon.ended()
    finally:
        await server.stop()
        daemon.witness.close()
        if store is not None:
            store.close()
        beginning.listeners.close()
        lock.release()


class Daemon:
    """One service under supervision."""

    def __init__(
        self, source: Source, ground: Ground, beginning: Beginning, above: AboveUs | None, entrance: Entrance
    ) -> None:
        listeners, settings, given = beginning.listeners, ground.settings, ground.given
        self._settings = settings
        self._source = source
        self._listeners = listeners
        self._name = settings.service
        state = state_dir(self._name, settings.state_dir)
        self._began = time.time()
        self._systemd = above
        self.witness = Accounts(Audit(state))
        self._desk = Desk()
        self._history = History(state)
        self._losses = Losses()
        self._instances = Instances(self._name, beginning.containment)
        self._clearances = Clearances(self._instances, Engine.now, lambda: self._engine.state, self._systemd)
        self._telling = Telling(self._desk, self._history, self._losses, listeners, self._clearances.of)
        self._journal = Journal(state, self._name, lambda: whereabouts(listeners, self._instances))
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_log_bug)
        self._over = self._loop.create_future()
        self._engine = Engine(beginning.state, self._loop, self._journal, self._observe)
        channels = Channels(runtime_dir(self._name))
        self._ahead = Ahead(listeners, self._instances, given.window, given.open_files, channels.open)
        self._hands = Executor(
            engine=self._engine,
            listeners=listeners,
            instances=self._instances,
            window=given.window,
            open_files=given.open_files,
            open_channel=channels.open,
            resume_channel=channels.resume,
            pin_again=choose_again,
            losses=self._losses,
            open_program=opened,
            ahead=self._ahead,
            point=point,
        )
        self._entrance = entrance
        self._follow = Follow(self._engine, self.witness)
        ways = Ways(
            self._engine, self._instances, listeners, source, settings, self._let_in, self._follow, self._clearances
        )
        manager = {} if self._systemd is None else self._systemd.variables
        self._reexec = Reexec(given, listeners, manager, self._engine.settle)
        health = HealthWays(self._engine, self._instances, listeners)
        table = {**ways.table(), **health.table()} | {due.MakeAhead: self._ahead.keep}
        looks = Lookout(engine=self._engine, listeners=listeners, instances=self._instances, ways=table)
        self._sights = Sights(self._instances, listeners, ways)
        self._engine.connect(self._hands, looks)

    def start(self, beginning: Beginning) -> None:
        """Go on with what an earlier supervisor has left, start the first generation if none serves; heed signals."""
        Signals(self._engine, self.witness, self.reexec, self._instances.reap_orphans).handle(self._loop)
        for listener in self._listeners:
            _log.info("listening", name=listener.address.name, address=str(listener))
        for generation, child, pipe in beginning.children():
            self._hands.adopt(generation, child, pipe)
        self._instances.sweep_earlier()
        if beginning.left is not None:
            self._telling.go_on(self._engine.state)
            self._engine.resume(beginning.left.state, beginning.left.event, beginning.left.effects)
        heed_signals()
        if beginning.release is not None:
            policy = beginning.policy or self._settings.policy
            recalled = beginning.policy is not None
            begun = events.Begun(at=self._engine.now(), release=beginning.release, policy=policy, recalled=recalled)
            self._engine.post(begun)
        self._follow.as_configured(self._settings, recalled=beginning.policy is not None)

    async def ended(self) -> int:
        """Wait for the end; the exit status."""
        await self._over
        self._ahead.drop()  # before the cgroup is left that it is in as well
        if self._engine.state.mode is Mode.LEFT:
            self._instances.containment.leave()
            return DRAINED
        await self._instances.swept()
        self._instances.containment.leave()
        return CUT_SHORT if self._engine.state.killed else DRAINED

    # ---- what the control socket may ask

    def status(self) -> dict[str, Any]:
        """All that is true now."""
        clock, state = self._clock(), self._engine.state
        seen = self._sights.measured(state)
        waits = waiting(state, clock, self._sights.sights(state, seen), self._clearances.asking)
        return {
            "service": self._name,
            "version": __version__,
            "pid": os.getpid(),
            "began": self._began,
            "now": time.time(),
            "listeners": [
                {
                    "name": name,
                    "address": str(listener),
                    "mode": listener.address.mode,
                    "handed": is_handed(listener),
                }
                for name, listener in self._places()
            ],
            **document(state, clock.wall, lambda each: seen[each.number]),
            "waiting": as_documents(waits, clock),
            "queue_losses": {"migrated": self._losses.migrated, "reset": self._losses.reset},
            "migrates": sockdiag.migrates(),
            "journal": self._journal.fault or "ok",
            "configuration": self._source.path,
            "cgroup": self._instances.containment.document(),
            "following": self._follow.document(),
        }

    def explain(self) -> list[dict[str, Any]]:
        """What waits now, why, and until when."""
        clock, state = self._clock(), self._engine.state
        sights = self._sights.sights(state, self._sights.measured(state))
        asked = self._clearances
        found = asked.last.found if state.serving and state.serving.release.id == asked.last.release else ""
        return as_documents(explain(state, clock, sights, asked.asking, found), clock)

    def history(self, limit: int) -> list[dict[str, Any]]:
        """Handoffs that have ended, oldest first."""
        return self._history.entries(limit)

    def served(self) -> list[dict[str, Any]]:
        """What is known of the releases that serve or have served."""
        from supervisor.control.served import served  # noqa: PLC0415 - seldom asked, and of no use at rest

        return served(self._engine.state)

    def ask(self, what: str, peer: Peer, terms: Terms) -> tuple[str, asyncio.Future[dict[str, Any]]]:
        """Ask for an upgrade, a rollback or an abort. One that was asked for before is not asked for again."""
        known = None if terms.request is None else self._known(terms.request)
        if terms.request is not None and known is not None:
            if known.what != what:
                raise BadRequestError(f"request {terms.request} was for another thing ({known.what}): give a new id")
            return terms.request, known.answer
        aborts = what == ABORT
        request = request_of(what, peer, terms)
        self._telling.asked(request)
        outcome = self._desk.wait(request.id, what)
        kind = events.AbortAsked if aborts else events.Asked
        self._engine.post(kind(at=self._engine.now(), request=request))
        return request.id, outcome

    def _known(self, request: str) -> Promise | None:
        known = self._desk.known(request)
        if known is not None:
            return known
        ended = [entry for entry in self._history.entries(KEPT) if entry.get("request") == request]
        return self._desk.recall(ended[-1]) if ended else None

    def quarantine(self) -> list[dict[str, Any]]:
        """The releases that are in quarantine."""
        wall = self._clock().wall
        return [quarantine(each, wall) for each in self._engine.state.record.quarantine]

    def lift(self, name: str, peer: Peer) -> str:
        """End the quarantine of the release of that name; its id. Raises OperatorError if there is not just one."""
        held = self._engine.state.record.held(name)
        if len(held) != 1:
            known = ", ".join(each.release.id for each in self._engine.state.record.quarantine) or "none is"
            what = "may be several" if held else "is not in quarantine"
            raise OperatorError(f"{name} {what}: those that are: {known}")
        _log.info("lift_asked", release=held[0].release.id, uid=peer.uid, pid=peer.pid)
        self._engine.post(events.LiftAsked(at=self._engine.now(), release=held[0].release.id))
        return held[0].release.id

    def stop(self, peer: Peer) -> None:
        """Drain and end; asked again, end now."""
        _log.info("stop_asked", way="control", uid=peer.uid, pid=peer.pid)
        self._engine.post(events.StopAsked(at=self._engine.now()))

    async def reexec(self) -> None:
        """Become what is on disk by now, a moment later. Raises OperatorError if that could not begin."""
        await self._reexec.rehearsed()
        self._loop.call_later(_LAST_ANSWER, self._reexec_soon)

    def _reexec_soon(self) -> None:
        """Signals that are here already are acted upon before: the loop comes by them once more."""
        hold_signals()
        self._loop.call_soon(self._loop.call_soon, self._reexec.go)

    def happenings(self) -> AsyncGenerator[dict[str, Any], None]:
        """What happens from now on."""
        return self._desk.happenings()

    def _let_in(self, admission: Admission) -> None:
        """Raises HostError, with nothing changed."""
        if self._entrance.change(admission):
            self.witness.roles(admission)

    # ---- what is told of each step

    def _observe(self, step: Step) -> None:
        self._telling.tell(step)
        if any(isinstance(effect, effects.End) for effect in step.effects) and not self._over.done():
            self._over.set_result(None)
        self._desk.take(step.effects)
        self._follow.told(step)
        if self._systemd is not None:
            self._systemd.told(step, self._engine.now())
            self._systemd.store.keep(self._listeners)

    def _clock(self) -> Clock:
        now = self._engine.now()
        return Clock(now, time.time() - now)

    def _places(self) -> tuple[Place, ...]:
        """The listeners that clients are meant to use now."""
        serving = self._engine.state.serving
        return self._listeners.of(serving.sockets) if serving is not None and serving.sockets is not None else ()


def _log_bug(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What nobody caught: a bug of ours, and no reason to stop serving."""
    _log.critical("bug", what=context.get("message"), exc_info=context.get("exception"))
