"""A store is followed: when something moves in it, it is looked what it asks for, and that is asked for as by HUP."""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog

from supervisor.core import events
from supervisor.core.following import CURRENT, PATCH, Noted, Sight, beginning, is_free, looked
from supervisor.core.model import Request
from supervisor.core.numbering import number
from supervisor.core.pointing import FOLLOW
from supervisor.daemon_watching import Watching
from supervisor.errors import HostError
from supervisor.releases.layout import Layout
from supervisor.releases.manifest import NAME as MANIFEST

if TYPE_CHECKING:
    from pathlib import Path

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
        self._noted = beginning(engine.state, self._current()) if recalled else Noted()
        self._fault: str | None = None
        self._watching: Watching | None = None
        self._claimed: int | None = None
        self._due = asyncio.get_running_loop().call_soon(self._look)
        _log.info("following", follow=follow, root=root)

    def end(self) -> None:
        """Follow it no more."""
        self._due.cancel()
        if self._watching is not None:
            self._watching.end()
        self._let_go()
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
        try:
            self._watch()
            sight = self._sight()
            self._claim()
        except HostError as refused:
            self._tell(str(refused))
            return
        except OSError as refused:
            self._tell(f"{refused.filename or self._root} cannot be looked at: {refused.strerror}")
            return
        self._tell(None)
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

    def _claim(self) -> None:
        """Of the folder that is the root by now. Raises HostError or OSError."""
        if self._follow != CURRENT:
            return
        if self._claimed is not None and os.path.samestat(os.fstat(self._claimed), self._layout.root.stat()):
            return
        self._let_go()
        self._claimed = self._layout.claim()

    def _let_go(self) -> None:
        if self._claimed is not None:
            os.close(self._claimed)
            self._claimed = None

    def _sight(self) -> Sight:
        """What there is now. Raises HostError or OSError."""
        layout = self._layout
        if not layout.versions.is_dir():
            raise HostError(f"there is no {layout.versions}")
        names = [name for name in layout.names() if number(name)] if self._follow == PATCH else []
        sealed = tuple(name for name in names if _has_manifest(layout.folder(name)))
        return Sight(root=self._root, current=layout.current(), movable=layout.may_point(), sealed=sealed)

    def _current(self) -> str | None:
        """Enough to begin with. Raises nothing: what cannot be seen is told at the first look."""
        with suppress(OSError):
            return self._layout.current()
        return None

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


def _has_manifest(folder: Path) -> bool:
    """One that may not be looked into has none that counts."""
    return os.path.isfile(folder / MANIFEST)  # noqa: PTH113 - Path.is_file raises EACCES
