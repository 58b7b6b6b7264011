"""What an earlier supervisor has written in its journal, told apart: gone on with, begun after, or refused."""

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from supervisor.core.model import Release, State
from supervisor.core.record import Served
from supervisor.core.value import replace
from supervisor.engine.codec import decoded
from supervisor.engine.journal import FORMAT, NAME, boot_id
from supervisor.linux.past import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Listened(Struct, frozen=True, kw_only=True):
    """A listener as it was."""

    order: tuple[Entry, ...]
    anchor: int | None


class Heritage(Struct, frozen=True, kw_only=True):
    """A journal that can be gone on from."""

    state: State
    supervisor: int
    """The pid of who wrote it."""
    same_boot: bool
    """If not, none of the processes that it speaks of is there any more."""
    epoch: float
    """When the clock that it is told by began, in seconds since 1970. Another boot has another clock."""
    sets: Mapping[int, Mapping[str, int]]
    """The inodes of each set, by listener."""
    listeners: tuple[Listened, ...]
    pipes: Mapping[tuple[int, int], int]
    """The inodes of readiness pipes, by generation and run."""


class UnreadableError(Exception):
    """A journal that cannot be gone on from, and why."""


def read(folder: Path) -> Heritage | None:
    """What the last one has left; None: nothing. Raises UnreadableError."""
    path = folder / NAME
    try:
        return understood(path.read_bytes(), str(path))
    except FileNotFoundError:
        return None
    except OSError as refused:
        raise UnreadableError(f"{path} cannot be read: {refused.strerror}") from refused


def understood(text: bytes, path: str) -> Heritage:
    """What a journal says; `path` is what it is called. Raises UnreadableError."""
    lines = text.splitlines()
    whole = (each for line in reversed(lines) if (each := _parsed(line)) is not None)
    found = next(whole, None)
    if found is None:
        raise UnreadableError(f"{path} is damaged: no line of it is whole")
    number = found.get("format")
    if number != FORMAT:
        newer = isinstance(number, int) and number > FORMAT
        raise UnreadableError(f"{path} is of {'a newer' if newer else 'another'} version (format {number!r})")
    try:
        return _heritage(found, next((each["served"] for each in chain([found], whole) if "served" in each), []))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as odd:
        raise UnreadableError(f"{path} is damaged: {odd}") from odd


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _heritage(found: Mapping[str, Any], served: object) -> Heritage:
    releases = [decoded(Release, each, f"releases.{at}") for at, each in enumerate(found["releases"])]
    state = decoded(State, found["state"], "state", {Release: releases})
    had = decoded(tuple[Served, ...], served, "served")
    return Heritage(
        state=replace(state, record=replace(state.record, served=had)),
        supervisor=int(found["supervisor"]["pid"]),
        same_boot=found["boot"] == boot_id(),
        epoch=float(found["written"]) - float(found.get("clock", 0.0)),
        sets={
            int(number): {str(name): int(inode) for name, inode in each.items()}
            for number, each in found["sets"].items()
        },
        listeners=tuple(
            Listened(order=tuple(_entry(*entry) for entry in each["order"]), anchor=each["anchor"])
            for each in found["listeners"]
        ),
        pipes={_run(name): int(inode) for name, inode in found["pipes"].items()},
    )


def _entry(number: int, inode: int, fd: int) -> Entry:
    return Entry(number=int(number), inode=int(inode), fd=int(fd))


def _run(name: str) -> tuple[int, int]:
    generation, run = name.split(".")
    return int(generation), int(run)
