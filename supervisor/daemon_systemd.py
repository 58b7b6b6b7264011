"""What the systemd above us is told: what goes on, that it may take longer, and that the loop still turns."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Self

from supervisor.control.status import doing_now
from supervisor.core.model import Life, Mode
from supervisor.daemon_store import Store
from supervisor.linux.sdnotify import Systemd

if TYPE_CHECKING:
    from supervisor.core.model import State
    from supervisor.daemon_given import Given
    from supervisor.engine.loop import Step

_AIR = 60.0
"""Seconds that systemd is to wait beyond the deadline of what goes on, and where that has none."""


class AboveUs:
    """A service manager that wants to be told."""

    def __init__(self, systemd: Systemd, given: Given) -> None:
        self._systemd = systemd
        theirs = [os.fstat(each.socket.fileno()).st_ino for each in given.handed]
        self.store = Store(systemd, [each.name for each in given.kept], theirs)
        interval = systemd.watchdog_interval()
        if interval is not None:
            _dump_where_it_hangs()
            self._pat(interval / 2)

    @classmethod
    def from_environment(cls, given: Given) -> Self | None:
        """The one that started us, if it listens, and has `given` us this."""
        systemd = Systemd.from_environment()
        return None if systemd is None else cls(systemd, given)

    @property
    def variables(self) -> dict[str, str]:
        """What it had put into our environment for us alone."""
        return {"NOTIFY_SOCKET": self._systemd.address}

    def told(self, step: Step, now: float) -> None:
        """Tell it of a step."""
        before, after = step.before, step.after
        fields: dict[str, str | int] = {"STATUS": _doing(after)}
        if after.serving is not None and after.serving.life is Life.READY:
            fields["READY"] = 1
        if after.mode is Mode.STOPPING and before.mode is not Mode.STOPPING:
            fields["STOPPING"] = 1
        if after.handoff is not None or after.mode is Mode.STOPPING:
            # A reload waits for the handoff, a stop for the drain, and both would be cut off at a fixed time.
            _, until = doing_now(after)
            left = _AIR if until is None else max(0.0, until - now) + _AIR
            fields["EXTEND_TIMEOUT_USEC"] = int(left * 1_000_000)
        self._systemd.tell(**fields)

    def may_take(self, seconds: float) -> None:
        """What goes on may take so long, though no step tells of it."""
        self._systemd.tell(EXTEND_TIMEOUT_USEC=int((seconds + _AIR) * 1_000_000))

    def _pat(self, pause: float) -> None:
        """By a timer of the loop's own, so that a loop which hangs says nothing."""
        self._systemd.tell(WATCHDOG=1)
        asyncio.get_running_loop().call_later(pause, self._pat, pause)


def _doing(state: State) -> str:
    doing, _ = doing_now(state)
    serving = state.serving
    if state.handoff is None or serving is None:
        return doing
    return f"{doing}; serving release {serving.release.id}"


def _dump_where_it_hangs() -> None:
    """A process that hangs is ended by SIGABRT: leave in the journal what it was doing."""
    import faulthandler  # noqa: PLC0415 - only where there is a watchdog

    faulthandler.enable(all_threads=False)
