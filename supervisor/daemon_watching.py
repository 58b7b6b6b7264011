"""A store's folder is watched, by inotify(7) on the loop: nothing wakes up as long as nothing moves there.

Watched are the names in the root and in `versions`; of each folder above, and of each link on the way, only whether it
goes away itself. Of the busy folder that a store may be in nothing is heard, unless the store is not there, or not
whole: then the nearest folder that is there tells of all names in it.

An event says no more than that it is time to look: which it was, how many were lost (IN_Q_OVERFLOW) and in which order
they came makes no difference. Each look begins with `cover`, as what was watched may be another folder by now.
"""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from asyncinotify import Event, Inotify, Mask

from supervisor.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.releases.layout import Layout

_GOES = Mask.DELETE_SELF | Mask.MOVE_SELF
"""And that its file system is unmounted, which is told in any case."""
_COMES = Mask.CREATE | Mask.MOVED_TO
_NAMES = _COMES | Mask.DELETE | Mask.MOVED_FROM

_LIMITS = {
    errno.EMFILE: "this user has no inotify instance left, or this process no file descriptor: raise "
    "fs.inotify.max_user_instances",
    errno.ENFILE: "the host has no file descriptor left",
    errno.ENOSPC: "this user has no inotify watch left: raise fs.inotify.max_user_watches",
    errno.ENOMEM: "the kernel has no memory left for it",
}
_TIMES = 8
"""How often what is to be watched may change while that is set up, before it is left to the next event."""


class Watching:
    """Watches one store, until `end`."""

    def __init__(self, layout: Layout, moved: Callable[[], None]) -> None:
        """`moved` is called when it is time to look; `cover` begins. Raises HostError."""
        try:
            self._inotify = Inotify()
        except OSError as refused:
            raise _unwatched(layout.root, refused) from refused
        self._layout = layout
        self._moved = moved
        loop = asyncio.get_running_loop()
        self._listening = loop.create_task(self._listen())
        self._listening.add_done_callback(lambda done: self._ended(loop, done))

    def cover(self) -> None:
        """Watch what is there by now. Raises HostError."""
        if self._listening.done():
            raise HostError(f"{self._layout.root} is not watched any more")
        before: dict[Path, Mask] = {}
        for _ in range(_TIMES):
            wanted = _wanted(self._layout)
            if wanted == before:
                return
            self._watch(wanted)
            before = wanted

    def end(self) -> None:
        """Watch no more."""
        self._listening.cancel()

    def _watch(self, wanted: dict[Path, Mask]) -> None:
        kept = set()
        for path, mask in wanted.items():
            try:
                kept.add(self._inotify.add_watch(path, mask).wd)
            except OSError as refused:
                if refused.errno in _LIMITS or (refused.errno == errno.EACCES and mask & _COMES):
                    raise _unwatched(path, refused) from refused
                # Gone again, which is found when what is wanted is worked out once more; or a folder above may only
                # be gone through.
        for each in self._inotify.watches:
            if each.wd not in kept:
                with suppress(OSError):  # it went with its folder
                    self._inotify.rm_watch(each)

    async def _listen(self) -> None:
        while True:
            if self._matters(await self._inotify.get()):
                self._moved()

    def _ended(self, loop: asyncio.AbstractEventLoop, done: asyncio.Task[None]) -> None:
        """When it is told to, and else by a bug."""
        self._inotify.close()
        if not done.cancelled() and (odd := done.exception()) is not None:
            loop.call_exception_handler({"message": "the store is not watched any more", "exception": odd})
            self._moved()

    def _matters(self, event: Event) -> bool:
        """What is being made in a store is hidden, and the end of a watch is told by what has ended it."""
        name = "" if event.name is None else str(event.name)
        hidden = name.startswith(".") and name not in self._layout.root.parts
        return not hidden and Mask.IGNORED not in event.mask


def _wanted(layout: Layout) -> dict[Path, Mask]:
    """What is to be watched, as things are now."""
    steps = (layout.root, *layout.root.parents)
    wanted = {each: _GOES | Mask.DONT_FOLLOW for each in steps if each.is_symlink()}
    root = Path(os.path.realpath(layout.root))
    there = next(each for each in (root, *root.parents) if os.path.isdir(each))  # noqa: PTH112 - Path.is_dir raises EACCES
    wanted |= dict.fromkeys(there.parents, _GOES)
    wanted[there] = _GOES | _NAMES
    if there != root:
        return wanted
    versions = Path(os.path.realpath(layout.versions))
    if os.path.isdir(versions):  # noqa: PTH112 - likewise
        wanted[versions] = _GOES | _COMES
        if layout.current_link.is_symlink():
            return wanted
    if os.access(root.parent, os.R_OK):
        wanted[root.parent] = _GOES | _NAMES  # an empty root may go without a word of its own: a server may be in it
    return wanted


def _unwatched(path: Path, refused: OSError) -> HostError:
    why = _LIMITS.get(refused.errno or 0, refused.strerror or str(refused))
    return HostError(f"{path} cannot be watched: {why}")
