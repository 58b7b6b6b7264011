"""From what a supervisor begins: anew, by the configuration, or from what an earlier one has left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct

from supervisor.core import events
from supervisor.core.model import State
from supervisor.core.value import replace
from supervisor.daemon_current import point_first, sweep
from supervisor.daemon_listeners import close_unwanted, open_listeners
from supervisor.engine.addresses import addresses
from supervisor.engine.history import History
from supervisor.engine.journal import NAME
from supervisor.errors import HostError
from supervisor.linux.handed import claim, let_go
from supervisor.paths import runtime_dir, state_dir
from supervisor.releases.choose import choose

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from supervisor.config.settings import Settings
    from supervisor.core.effects import Effect
    from supervisor.core.model import Generation, Release
    from supervisor.core.policy import Policy
    from supervisor.daemon_given import Given
    from supervisor.daemon_store import Store
    from supervisor.engine.containment import Containment
    from supervisor.engine.heritage import Heritage
    from supervisor.engine.takeover import Remains
    from supervisor.linux.listeners import Listeners
    from supervisor.linux.process import Child

_log = structlog.get_logger()


class Ground(Struct, frozen=True, kw_only=True):
    """What there is at every beginning, whatever was before."""

    settings: Settings
    given: Given
    containment: Containment
    store: Store | None
    """systemd's, if we are a service of its."""


class Left(Struct, frozen=True, kw_only=True):
    """What an earlier supervisor has left."""

    state: State
    """As it was written."""
    event: events.TakenOver
    effects: tuple[Effect, ...]
    """What is to be done first."""


class Beginning(Struct, frozen=True, kw_only=True):
    """The state to begin from, with the listeners that belong to it."""

    state: State
    listeners: Listeners
    containment: Containment
    left: Left | None = None
    release: Release | None = None
    """What is to be started if nobody serves."""
    policy: Policy | None = None
    """By what, if that is recorded and not configured."""
    remains: Remains | None = None

    def children(self) -> Iterator[tuple[Generation, Child, int | None]]:
        """The generations whose processes live, with the read end of the readiness pipe where it is open."""
        if self.remains is None:
            return
        for each in self.state.generations:
            child = self.remains.children.get((each.number, each.run))
            if child is not None:
                yield each, child, self.remains.pipes.get((each.number, each.run))


def begin(ground: Ground) -> Beginning:
    """Look what there is to go on with; bind the listeners if there is nothing.

    Raises HostError or OperatorError, with nothing changed but for kept sockets that nobody serves.
    """
    settings = ground.settings
    sweep(settings.launch)
    folder = state_dir(settings.service, settings.state_dir)
    history = History(folder)
    heritage = _heritage(folder, ground)
    if heritage is None:
        return _anew(ground, State(policy=settings.policy, last_handoff=history.last_number()))
    return _after(heritage, ground, history.last_number())


def _anew(ground: Ground, state: State) -> Beginning:
    release, policy = _first(ground.settings, state)
    for each in ground.given.kept:
        let_go(each.socket)
    if ground.store is not None:
        ground.store.empty()  # until then our own addresses are in use
    listeners = open_listeners(addresses(release.launch.listen), ground.given.handed)
    return Beginning(state=state, listeners=listeners, containment=ground.containment, release=release, policy=policy)


def _first(settings: Settings, state: State) -> tuple[Release, Policy | None]:
    """What is to be started, and by what if not by the configuration. Raises ReleaseError."""
    release = choose(settings.launch)
    if not state.record.quarantine:
        return release, None
    from supervisor.daemon_quarantine import instead_of  # noqa: PLC0415 - most services have nobody in quarantine

    return instead_of(release, state.record, time.monotonic())


def _heritage(folder: Path, ground: Ground) -> Heritage | None:
    if not (folder / NAME).exists():
        if ground.given.kept:
            _refuse_if_served(ground, f"{folder / NAME} is gone")
        return None
    from supervisor.engine import heritage  # noqa: PLC0415 - a first start does without it

    try:
        return heritage.read(folder)
    except heritage.UnreadableError as odd:
        _refuse_if_served(ground, str(odd))
        aside = (folder / NAME).rename(folder / f"{NAME}.unreadable")
        _log.error("journal_unreadable", reason=str(odd), effect="begun anew: no server runs", kept=str(aside))
        return None


def _refuse_if_served(ground: Ground, why: str) -> None:
    """Without a journal a server cannot be taken back, and is not to lose its sockets. Raises HostError.

    Some show nothing of what they were started with (nginx, whoever sets its title), and are known by what they hold.
    """
    from supervisor.engine.takeover import holding, living  # noqa: PLC0415 - a first start does without it

    service = ground.settings.service
    runs = living(service, runtime_dir(service)) or holding([each.socket for each in ground.given.kept])
    if runs:
        raise HostError(
            f"{why}, and a server of this service runs (pid {runs[0]}), which cannot be taken back without it. "
            f"It serves on; once it has ended (kill {runs[0]}), start gapless again"
        )


def _after(heritage: Heritage, ground: Ground, told: int) -> Beginning:
    from supervisor.core import recovery  # noqa: PLC0415 - a first start does without it
    from supervisor.engine.takeover import Estate, take_over  # noqa: PLC0415 - likewise

    was, at = heritage.state, time.monotonic()
    settings, given = ground.settings, ground.given
    configured = [listen for each in was.generations for listen in each.release.launch.listen]
    handed = claim(addresses(dict.fromkeys(configured)), given.handed) if given.handed else {}
    estate = Estate(
        service=settings.service,
        runtime=runtime_dir(settings.service),
        containment=ground.containment,
        given=[each.socket for each in given.kept],
        handed=handed,
        told=told,
    )
    remains = take_over(heritage, estate)
    if remains.nothing:
        ahead = 0.0 if heritage.same_boot else heritage.epoch - (time.time() - at)
        state, effects = recovery.begun_anew(was, settings.policy, told, at, ahead)
        point_first(effects)
        anew = _anew(ground, state)
        return replace(anew, left=_left(was, (), at, effects)) if was.generations or effects else anew
    close_unwanted(given.handed, handed)
    state, effects = recovery.resumed(was, remains.found, at)
    _steer(remains.listeners, state)
    if state.serving is None:
        point_first(effects)
    first = _first(settings, state) if state.serving is None else (None, None)
    return Beginning(
        state=state,
        listeners=remains.listeners,
        containment=ground.containment,
        left=_left(was, sorted(number for number, _ in remains.children), at, effects),
        release=first[0],
        policy=first[1],
        remains=remains,
    )


def _left(was: State, alive: Sequence[int], at: float, effects: tuple[Effect, ...]) -> Left:
    gone = [each.number for each in was.generations if each.process is not None and each.number not in alive]
    return Left(state=was, event=events.TakenOver(at=at, alive=tuple(alive), gone=tuple(gone)), effects=effects)


def _steer(listeners: Listeners, state: State) -> None:
    """At once: where the kernel sends connections since the last supervisor ended is not known."""
    if state.target is None or not listeners.holds(state.target):
        return
    try:
        listeners.steer(state.target)
    except (HostError, ValueError) as refused:
        _log.error("steering_failed", sockets=state.target, reason=str(refused))
