"""`gapless backup`: what a service is, put together while it runs or not, and written as one archive.

The store is locked meanwhile, so that no version comes or goes. A supervisor may be at work: what it has written of its
state, its history and where `current` leads are read until they belong together. What goes along of the state is what
holds on any host (`core.recovery.elsewhere`).
"""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import stat
import sys
import tempfile
import time
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, cast

from msgspec import Struct

from supervisor import __version__
from supervisor.config import reading
from supervisor.config.source import contents
from supervisor.core import fallback
from supervisor.core.recovery import elsewhere
from supervisor.core.value import replace
from supervisor.daemon_place import Place
from supervisor.daemon_referred import referred
from supervisor.engine import heritage, journal
from supervisor.engine.history import NAME as HISTORY
from supervisor.engine.history import last_number
from supervisor.errors import HostError, OperatorError, ReleaseError
from supervisor.releases import backup, manifest, restore
from supervisor.releases.backup import Backup
from supervisor.releases.layout import sync_folder
from supervisor.releases.manifest import Item
from supervisor.releases.seal import SAVING, sweep, user_name
from supervisor.releases.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from supervisor.core.launch import Store
    from supervisor.core.model import Release, State
    from supervisor.releases.manifest import Manifest

USUAL = "current,previous"
"""Which releases are taken if nobody says."""

_PATIENCE = 2.0
"""Seconds in which a supervisor has told of what it has concluded."""
_PAUSE = 0.02


class Saved(Struct, frozen=True, kw_only=True):
    """A backup that was written."""

    file: str | None
    """None: to standard output."""
    sha256: str
    size: int
    manifest: Backup
    swept: tuple[str, ...]
    """What had been interrupted in the store."""
    lacks: tuple[str, ...]
    """What is not in it though it was asked for, in words."""


class _Told(Struct, frozen=True, kw_only=True):
    """What a supervisor has written, put so that it holds anywhere."""

    state: State | None = None
    journal: bytes | None = None
    history: bytes | None = None
    current: str | None = None
    owner: str | None = None


def save(config: Path, which: str, to: Path | None, *, stream: bool = False) -> Saved:
    """Write a backup to a file (None: among the store's backups), or to standard output.

    Raises OperatorError, HostError or OSError, with nothing left of it.
    """
    config = config.absolute()
    text = contents(config)
    configuration = reading.from_text(text, str(config))
    place = Place.told(configuration, config)
    with place.layout.alone():
        swept = tuple(sweep(place.layout))
        told = _settled(place, configuration.service.name)
        chosen, lacks = _chosen(place, which, told)
        if told.journal is None:
            lacks = (*lacks, f"no state: there is none in {place.state}")
        small, members = _small(config, text, told), []
        for name in place.layout.names():
            if name not in chosen:
                sealed, why = _known(place, name)
                if sealed is not None:
                    small[backup.absent_manifest_of(name)] = (0o444, manifest.to_json(sealed))
                lacks = (*lacks, why) if why else lacks
                continue
            sealed = _verified(place, name)
            small[backup.manifest_of(name)] = (0o444, manifest.to_json(sealed))
            members += [replace(each, path=f"versions/{name}/{each.path}") for each in sealed.items]
        made = Backup(
            gapless=__version__,
            service=configuration.service.name,
            host=os.uname().nodename,
            made=round(time.time(), 3),
            uid=os.getuid(),
            user=user_name(),
            config=str(config),
            root=place.store.root,
            current=told.current,
            owner=told.owner,
            refers=tuple(referred(text, configuration, place)),
            members=(*(_of(path, mode, content) for path, (mode, content) in small.items()), *members),
        )
        held = {path: content for path, (_, content) in small.items()}
        saved = _to_stream(made, held, place) if stream else _to_file(made, held, place, to)
    return replace(saved, swept=swept, lacks=lacks)


def _of(path: str, mode: int, content: bytes) -> Item:
    return Item(path=path, mode=mode, size=len(content), sha256=sha256(content).hexdigest())


def _small(config: Path, text: bytes, told: _Told) -> dict[str, tuple[int, bytes]]:
    """Configuration and state: mode and content, by path."""
    found = {backup.CONFIGURATION: (stat.S_IMODE(config.stat().st_mode) & 0o777, text)}
    if told.history is not None:
        found[backup.HISTORY] = (0o600, told.history)
    if told.journal is not None:
        found[backup.JOURNAL] = (0o600, told.journal)
    return found


# ---- what a supervisor has written


def _settled(place: Place, service: str) -> _Told:
    """What belongs together: the same before and after, and no outcome that is not in the history yet.

    A supervisor that died between the two leaves it so, which is no reason to wait for ever. Raises HostError.
    """
    ends = time.monotonic() + _PATIENCE
    while True:
        told, complete = _told(place, service)
        same = told.state == _told(place, service)[0].state
        if (same and complete) or time.monotonic() > ends:
            break
        time.sleep(_PAUSE)
    if not same:
        raise HostError(f"what {service} has in {place.state} changes without end: try again when it has settled")
    return told


def _told(place: Place, service: str) -> tuple[_Told, bool]:
    """That, and whether the history has all that has ended."""
    folder = place.state
    try:
        written, history = _plain(folder / journal.NAME), _plain(folder / HISTORY)
        found = None if written is None else heritage.understood(written, str(folder / journal.NAME))
        owner = _name(folder.stat().st_uid) if folder.exists() else None
    except heritage.UnreadableError as odd:
        raise HostError(f"the state of {service} cannot be told: {odd}") from odd
    except OSError as refused:
        raise HostError(f"{folder} cannot be read: {refused.strerror}") from refused
    whole = None if history is None else history[: history.rfind(b"\n") + 1]
    told = _Told(history=whole, current=place.layout.current(), owner=owner)
    if found is None:
        return told, True
    concluded = found.state.concluded
    complete = concluded is None or concluded.handoff <= last_number((history or b"").splitlines())
    holds = journal.for_elsewhere(elsewhere(found.state), service, found.epoch)
    return replace(told, state=found.state, journal=holds), complete


def _plain(path: Path) -> bytes | None:
    """What is in a plain file; None: there is none. The folder may be another user's, who could have anything be read.

    Raises HostError or OSError.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as refused:
        if refused.errno == errno.ELOOP:
            raise HostError(f"{path} is a link, and no plain file: it is not gapless that has put it there") from None
        raise
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise HostError(f"{path} is no plain file: it is not gapless that has put it there")
        content = file.read(manifest.LARGEST + 1)
    if len(content) > manifest.LARGEST:
        raise HostError(f"{path} has more than {manifest.LARGEST} bytes: it is not gapless that has written them")
    return content


def _name(uid: int) -> str:
    with suppress(KeyError):
        if backup.is_user(name := pwd.getpwuid(uid).pw_name):
            return name
    return str(uid)


# ---- which versions


def _chosen(place: Place, which: str, told: _Told) -> tuple[frozenset[str], tuple[str, ...]]:
    """The versions that are asked for, and what there is none of, in words. Raises OperatorError."""
    there, chosen, lacks = set(place.layout.names()), set[str](), list[str]()
    for word in filter(None, (each.strip() for each in which.split(","))):
        match word:
            case "all":
                chosen |= there
            case "none":
                continue
            case "current":
                serves = _serving(told.state, place.store)
                chosen |= {each for each in (told.current, serves if serves in there else None) if each}
                lacks += [] if told.current else [f"no current version: {place.layout.current_link} leads to none"]
                if serves and told.current and serves != told.current:
                    lacks.append(f"no agreement: {serves} serves, and current leads to {told.current}")
            case "previous":
                before = set(_ways_back(told.state, place.store)) & there
                chosen |= before
                lacks += [] if before else ["no previous version: none is there that a rollback returns to"]
            case _ if place.layout.folder(word).is_dir():
                chosen.add(word)
            case _:
                raise OperatorError(f"there is no version {word} in {place.layout.versions}")
    return frozenset(chosen), tuple(lacks)


def _serving(state: State | None, store: Store) -> str | None:
    """The version that serves, or has when the supervisor ended; during a handoff the one that was committed."""
    if state is None:
        return None
    found = state.serving if state.handoff is None else state.find(state.handoff.predecessor)
    return None if found is None else _version(found.release, store)


def _version(release: Release, store: Store) -> str | None:
    """What it is called in that store; None: it is not of it."""
    kept = release.launch.store
    return release.version if kept is not None and kept.root == store.root else None


def _ways_back(state: State | None, store: Store) -> Iterator[str]:
    """The versions that a rollback returns to, and that gapless goes back to by itself."""
    if state is None:
        return
    goal = fallback.goal_of(state)
    for each in (state.previous, None if goal is None else goal.release):
        version = None if each is None else _version(each, store)
        if version is not None:
            yield version


def _known(place: Place, name: str) -> tuple[Manifest | None, str]:
    """The manifest of a version that is not asked for, or why there is none, in words."""
    try:
        found = manifest.read(place.layout.folder(name))
    except ReleaseError as damaged:
        return None, f"no manifest of {name}: {damaged}"
    if found is not None and found.version != name:
        return None, f"no manifest of {name}: it has that of {found.version}, of which it is a copy"
    return found, ""


def _verified(place: Place, name: str) -> Manifest:
    """The manifest of a version that is as it was sealed. Raises ReleaseError."""
    folder = place.layout.folder(name)
    found = manifest.read(folder)
    if found is None or found.version != name:
        raise ReleaseError(
            f"{folder} has no manifest of its own, so nobody could tell whether it comes back as it was: "
            f"gapless release add {folder} --version V, and back that up, or choose other --releases"
        )
    verify(folder, found)
    return found


# ---- writing


def _to_stream(made: Backup, held: dict[str, bytes], place: Place) -> Saved:
    """By way of a file without a name, for what nobody could restore is to be found out now."""
    folder = place.layout.backups
    try:
        folder.mkdir(mode=0o755, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, buffering=0) as unnamed:
            file = cast("BinaryIO", unnamed)
            digest = backup.write(file, made, held, place.layout, packed=True)
            size = file.tell()
            _check_kept(file, folder / "backup", digest)
            file.seek(0)
            shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as refused:
        raise HostError(f"the backup cannot be written, by way of {folder}: {refused.strerror}") from refused
    return Saved(file=None, sha256=digest, size=size, manifest=made, swept=(), lacks=())


def _to_file(made: Backup, held: dict[str, bytes], place: Place, to: Path | None) -> Saved:
    """Under another name in the same folder, read once more as who restores it would, and then by one rename(2)."""
    if to is None:
        place.layout.backups.mkdir(mode=0o755, exist_ok=True)
        when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(made.made))
        to = place.layout.backups / f"{made.service}-{when}.tar.gz"
    to = to.absolute()
    if to.exists() or to.is_symlink():
        raise OperatorError(f"{to} is there already: name a file that is not")
    new = to.with_name(f"{SAVING}{to.name}")
    with suppress(FileNotFoundError):
        new.unlink()
    try:
        with open(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w+b") as file:  # noqa: PTH123 - of a file that is open
            digest = backup.write(file, made, held, place.layout, packed=to.suffix != ".tar")
            file.flush()
            os.fsync(file.fileno())
            _check_kept(cast("BinaryIO", file.raw), to, digest)
            size = os.fstat(file.fileno()).st_size
        new.rename(to)
        sync_folder(to.parent)
    except OSError as refused:
        raise HostError(f"{to} cannot be written: {refused.strerror}") from refused
    finally:
        with suppress(FileNotFoundError):
            new.unlink()
    return Saved(file=str(to), sha256=digest, size=size, manifest=made, swept=(), lacks=())


def _check_kept(file: BinaryIO, path: Path, digest: str) -> None:
    """Read what was written as who restores it would. Raises OperatorError, HostError or OSError."""
    if restore.examine(file, path, restore.Proof()).sha256 != digest:
        raise HostError(f"{path.parent} does not keep what is written to it: look at its disk")
