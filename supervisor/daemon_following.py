"""A store is followed: when something moves in it, it is looked what it asks for, and that is asked for as by HUP."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

import structlog

from supervisor.core import events
from supervisor.core.model import Request
from supervisor.core.pointing import FOLLOW
from supervisor.daemon_watching import Watching
from supervisor.errors import HostError
from supervisor.releases.following import PATCH, Noted, Sight, beginning, is_free, looked
from supervisor.releases.layout import Layout
from supervisor.releases.manifest import NAME as MANIFEST

if TYPE_CHECKING:
    from supervisor.daemon_audit import Accounts
    from supervisor.engine.loop import Engine, Step

_log = structlog.get_logger()


class Following:
    """Follows one store, until `end`."""

    def __init__(self, engine: Engine, accounts: Accounts, follow: str, root: str, *, recalled: bool) -> None:
        """`recalled`: what `current` leads to is not what was begun with, and is not to be asked for."""
        self._engine = engine
        self._accounts = accounts
        self._follow = follow
        self._root = root
        self._layout = Layout(root)
        self._noted = beginning(engine.state, self._sight()) if recalled else Noted()
        self._fault: str | None = None
        self._watching: Watching | None = None
        self._due = asyncio.get_running_loop().call_soon(self._look)
        _log.info("following", follow=follow, root=root)

    def end(self) -> None:
        """Follow it no more."""
        self._due.cancel()
        if self._watching is not None:
            self._watching.end()
        _log.info("following_ended", follow=self._follow, root=self._root)

    def told(self, step: Step) -> None:
        """A step was taken: what had to wait for its end is looked at now."""
        if is_free(step.after) and not is_free(step.before):
            self._look()

    def document(self) -> dict[str, Any]:
        """For people."""
        return {"follow": self._follow, "root": self._root, "fault": self._fault}

    def _look(self) -> None:
        """It is watched first: what moves from then on is looked at once more."""
        fault = None
        try:
            self._watch()
            sight = self._sight()
        except HostError as refused:
            sight, fault = Sight(root=self._root, current=None), str(refused)
        if fault is None and sight.current is None and not self._layout.versions.is_dir():
            fault = f"there is no {self._layout.versions}"
        self._tell(fault)
        self._noted, wish = looked(self._follow, self._noted, self._engine.state, sight)
        if wish is None:
            return
        request = Request(id=secrets.token_hex(4), way=FOLLOW, because=wish.because, version=wish.version)
        self._accounts.followed(request.id, wish.because)
        self._engine.post(events.Asked(at=self._engine.now(), request=request))

    def _watch(self) -> None:
        """Raises HostError."""
        if self._watching is None:
            self._watching = Watching(self._layout, self._moved)
        self._watching.cover()

    def _moved(self) -> None:
        """Many things may move at once, and one look is for all of them."""
        self._due.cancel()
        self._due = asyncio.get_running_loop().call_soon(self._look)

    def _sight(self) -> Sight:
        """What there is now. Raises HostError."""
        names = self._layout.names() if self._follow == PATCH else []
        sealed = (name for name in names if (self._layout.folder(name) / MANIFEST).is_file())
        return Sight(root=self._root, current=self._layout.current(), sealed=tuple(sealed))

    def _tell(self, fault: str | None) -> None:
        """Once, and not at each look."""
        if fault == self._fault:
            return
        self._fault = fault
        if fault is None:
            _log.info("following", follow=self._follow, root=self._root)
        else:
            what = "what changes there begins no upgrade until that is otherwise; `gapless upgrade` and HUP do"
            _log.warning("follow_blind", root=self._root, reason=fault, what=what)
