"""The store of a configuration, for commands: its rules, where it is, and which of its versions have to stay.

Those are the ones that serve or have served last, by what the daemon has written, whether it runs or not.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from supervisor.core import fallback
from supervisor.errors import HostError, OperatorError
from supervisor.paths import state_path
from supervisor.releases.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.config.tables import Configuration
    from supervisor.core.launch import Store
    from supervisor.core.model import Release, Request, State


class Place(Struct, frozen=True, kw_only=True):
    """A store, and whose it is."""

    store: Store
    layout: Layout
    program: str | None
    """What the command calls its program in a version; None if that is not the command's own, or is below a folder."""
    state: Path
    """Where its supervisor keeps its state."""

    @classmethod
    def of(cls, path: Path) -> Place:
        """That of a configuration file. Raises OperatorError."""
        from supervisor.config import reading  # noqa: PLC0415 - loads pydantic

        return cls.told(reading.load(path), path)

    @classmethod
    def told(cls, configuration: Configuration, path: Path) -> Place:
        """That of a configuration that has been read from that file. Raises OperatorError."""
        store, service = configuration.releases.store(), configuration.service
        if store is None:
            raise OperatorError(f'{path} has no store: add a table [releases] with root, such as root = "/srv/web"')
        layout, program = Layout(store.root), Path(service.command[0])
        return cls(
            store=store,
            layout=layout,
            program=program.name if program.parent == layout.current_link else None,
            state=state_path(service.name, service.state_dir),
        )

    def kept(self) -> dict[str, str]:
        """Why some versions have to stay. Raises HostError if that cannot be known: then nothing may go."""
        from supervisor.engine import heritage  # noqa: PLC0415 - only what removes has to know
        from supervisor.releases.prune import running  # noqa: PLC0415 - likewise

        why = dict.fromkeys(running(self.layout), "is run by a process of this host")
        current = self.layout.current()
        if current is not None:
            why[current] = "is current"
        try:
            found = heritage.read(self.state)
        except heritage.UnreadableError as odd:
            raise HostError(f"which versions are in use is not known: {odd}") from odd
        if found is None:
            return why
        for release, reason in _named(found.state):
            if release.version is not None and release.launch.store and release.launch.store.root == self.store.root:
                why[release.version] = reason
        wanted = {each.version for each in (found.state.pending, _request(found.state)) if each and each.version}
        return why | dict.fromkeys(wanted, "is asked for")


def _request(state: State) -> Request | None:
    return None if state.handoff is None else state.handoff.request


def _named(state: State) -> Iterator[tuple[Release, str]]:
    well = fallback.goal_of(state)
    if well is not None:
        yield well.release, "is what gapless goes back to if the present one fails too often"
    if state.handoff is not None and state.handoff.goal is not None:
        yield state.handoff.goal.release, "is being gone back to"
    if state.previous is not None:
        yield state.previous, "is what a rollback returns to"
    if state.handoff is not None and state.handoff.release is not None:
        yield state.handoff.release, "is being handed over to"
    for each in state.generations:
        yield each.release, f"is run by generation {each.number}"
