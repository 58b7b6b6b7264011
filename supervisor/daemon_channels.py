"""Where the children of a service speak: a socket's path in the runtime folder for each run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from supervisor.engine.contract import EINHORN
from supervisor.readiness.channel import Channel, Pipe

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor.engine.instances import Speaker


class Channels(Struct, frozen=True):
    """Opens them."""

    _folder: Path

    def open(self, who: Speaker) -> Channel:
        """A new one."""
        return Channel(*self._paths(who), who.owner)

    def resume(self, who: Speaker, pipe: int | None) -> Channel:
        """That of a child that is there already; `pipe` is the end that is read, if it is open."""
        return Channel(*self._paths(who), who.owner, Pipe(pipe, None))

    def _paths(self, who: Speaker) -> tuple[Path, Path | None]:
        name = f"{who.generation}.{who.run}.sock"
        return self._folder / f"notify-{name}", self._folder / f"ack-{name}" if EINHORN in who.dialects else None
