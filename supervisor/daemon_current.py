"""What the daemon does with a store of releases: `current` is moved, and what was interrupted is swept away."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from supervisor.errors import GaplessError
from supervisor.releases.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor.core.effects import Effect, Point
    from supervisor.core.launch import Launch

_log = structlog.get_logger()


def point(effect: Point) -> None:
    """Have `current` lead where it is to lead, unless a person has moved it meanwhile. Raises nothing."""
    layout = Layout(effect.root)
    before = layout.current()
    try:
        moved = _moved(layout, effect)
    except OSError as refused:
        why = f"{layout.current_link} cannot be moved: {refused.strerror or refused}"
        _log.error("current_failed", version=effect.version, leads_to=before, reason=why)
        return
    if moved:
        _log.info("current_moved", version=effect.version, led_to=before)
    elif before != effect.version:
        _log.warning("current_left", version=effect.version, leads_to=before)


def _moved(layout: Layout, effect: Point) -> bool:
    """Once more if a `gapless release` has swept away what was about to become the link. Raises OSError."""
    with suppress(FileNotFoundError):
        return layout.point(effect.version, effect.seen)
    return layout.point(effect.version, effect.seen)


def point_first(effects: Iterable[Effect]) -> None:
    """Those of these effects that say where `current` is to lead, before anybody looks where it leads."""
    from supervisor.core.effects import Point  # noqa: PLC0415 - only after an earlier supervisor

    for effect in effects:
        if isinstance(effect, Point):
            point(effect)


def sweep(launch: Launch) -> None:
    """Clear away what was left by whoever was interrupted while the store was changed. Raises nothing."""
    if launch.store is None:
        return
    layout = Layout(launch.store.root)
    try:
        there = (*layout.root.iterdir(), *layout.versions.iterdir(), *layout.saved())
        if not any(each.name.startswith(".") for each in there):
            return
    except OSError:  # it is not there yet, or not ours to look at: nothing of ours was interrupted in it
        return
    from supervisor.releases.seal import sweep as swept  # noqa: PLC0415 - a store at rest has nothing to be swept

    try:
        with layout.alone():
            for what in swept(layout):
                _log.warning("release_swept", what=what, root=str(layout.root))
    except GaplessError as busy:  # somebody is at work there, or it is not ours
        _log.info("release_unswept", reason=str(busy))
