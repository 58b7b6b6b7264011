"""`gapless restore`: a backup is put back on a host that has nothing of the service, or some of the same already.

All is checked before anything is changed (`releases.restore`). Then, with nobody else at work in store and state: the
versions, each by one rename(2), the history, the journal, `current`, and the configuration, which comes last, since
without it no supervisor begins. So whoever is killed in between leaves less than a service, and never half of a thing;
what there is by then is the same as in the backup, and a second restore does the rest.

Nothing is replaced: whatever is there, and is another, is in the way and refuses all of it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from supervisor.config import reading
from supervisor.daemon_place import Place
from supervisor.engine import heritage, journal
from supervisor.engine.history import NAME as HISTORY
from supervisor.errors import HostError, OperatorError, ReleaseError
from supervisor.linux.lock import Lock
from supervisor.paths import state_dir
from supervisor.releases import backup, manifest, restore
from supervisor.releases.layout import sync_folder
from supervisor.releases.seal import sweep
from supervisor.releases.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from supervisor.config.tables import Configuration
    from supervisor.releases.restore import Examined, Proof

_CONFIGURATION = ".toml"
_LONGEST = 4
"""So many of what is in the way are named."""


class Plan(Struct, frozen=True, kw_only=True):
    """What a backup is, and where it goes."""

    examined: Examined
    configuration: Configuration
    config: Path
    place: Place

    @property
    def current(self) -> str | None:
        """The version that is to be current: the one that was, if it is in the backup."""
        found = self.examined.manifest.current
        return found if found in self.examined.versions else None

    @property
    def lacking(self) -> tuple[str, ...]:
        """What the configuration refers to, that was there and is not here."""
        return tuple(each for each in self.examined.manifest.refers if not os.path.exists(each))  # noqa: PTH110 - Path.exists raises EACCES

    def files(self) -> Iterator[tuple[Path, Path, bytes, int]]:
        """Of the state and of the configuration: path, name until it is whole, content and mode, in this order."""
        state, small = self.place.state, self.examined.small
        for name, member in ((HISTORY, backup.HISTORY), (journal.NAME, backup.JOURNAL)):
            if member in small:
                path = state / name
                yield path, path.with_suffix(".new"), small[member], 0o600
        mode = next(each.mode for each in self.examined.manifest.members if each.path == backup.CONFIGURATION)
        yield self.config, self.config.with_name(f".{self.config.name}.new"), small[backup.CONFIGURATION], mode


class Restored(Struct, frozen=True, kw_only=True):
    """What was put back."""

    plan: Plan
    new: tuple[str, ...]
    """The versions that were not there before."""
    swept: tuple[str, ...]
    """What had been interrupted in the store."""


def plan(path: Path, file: BinaryIO, proof: Proof, config: Path | None) -> Plan:
    """See that a backup is whole, and where it would go. Nothing is changed. Raises OperatorError or OSError."""
    examined = restore.examine(file, path, proof)
    source = f"the configuration in {path}"
    configuration = reading.from_text(examined.small[backup.CONFIGURATION], source)
    _check_history(examined.small.get(backup.HISTORY, b""))
    if backup.JOURNAL in examined.small:
        try:
            heritage.understood(examined.small[backup.JOURNAL], "the journal in the backup")
        except heritage.UnreadableError as odd:
            raise ReleaseError(f"{odd}: restore it by the version that wrote it ({examined.manifest.gapless})") from odd
    where = (config or Path(examined.manifest.config)).absolute()
    place, said = Place.told(configuration, Path(source)), examined.manifest
    if (said.service, said.root) != (configuration.service.name, place.store.root):
        raise ReleaseError(f"{source} is of another service than the backup: copy it again")
    return Plan(examined=examined, configuration=configuration, config=where, place=place)


def _check_history(text: bytes) -> None:
    """Raises ReleaseError."""
    for line in text.splitlines():
        try:
            json.loads(line)
        except (ValueError, RecursionError):
            raise ReleaseError("the history in the backup is damaged: copy it again") from None


def put_back(path: Path, proof: Proof, config: Path | None) -> Restored:
    """Put a backup back. Raises OperatorError, HostError or OSError; nothing that was there has been changed then."""
    with restore.opened(path, proof) as file:
        found = plan(path, file, proof, config)
        _refuse_unchecked(found)
        if config is None and found.config.suffix != _CONFIGURATION:
            raise OperatorError(
                f"the backup says that its configuration is {found.config}, and no other than .toml is written: "
                "say --config FILE"
            )
        _refuse_what_is_in_the_way(found)
        _refuse_what_cannot_be_written(found)
        service = found.configuration.service
        found.place.layout.make()
        lock = Lock(state_dir(service.name, service.state_dir) / "lock", f"service {service.name}")
        try:
            with found.place.layout.alone():
                return _put_back(found, file)
        except OSError as refused:
            where = refused.filename or found.place.layout.root
            raise HostError(f"{where} cannot be written: {refused.strerror}; say it again when it can") from refused
        finally:
            lock.release()


def _refuse_unchecked(found: Plan) -> None:
    """A version's manifest says what it was checked by, and comes from the backup: so that has to be vouched for."""
    required = found.place.store.require
    if required and not found.examined.checks:
        raise OperatorError(
            f"releases.require has {', '.join(required)}, and what a version was checked by is known from the backup "
            "alone: say --sha256 with what `gapless backup` told, or --signature"
        )


def _put_back(found: Plan, file: BinaryIO) -> Restored:
    layout = found.place.layout
    swept = tuple(sweep(layout))
    _refuse_what_is_in_the_way(found)  # nobody can have put anything there since
    new = tuple(name for name in found.examined.versions if not layout.folder(name).exists())
    try:
        restore.unpack(file, found.examined, layout, new)
        for name in new:
            restore.put_in_place(layout, name)
    finally:
        sweep(layout)
    *state, configuration = found.files()
    for path, unfinished, content, mode in state:
        _write(path, unfinished, content, mode)
    if found.current is not None:
        layout.point(found.current, (None,))
    _make_folder(found.config.parent)
    _write(*configuration)
    return Restored(plan=found, new=new, swept=swept)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as refused:
        raise HostError(f"{folder} cannot be made: {refused.strerror}") from refused


def _write(path: Path, unfinished: Path, content: bytes, mode: int) -> None:
    """Have a file there, whole and on disk, unless it is."""
    if path.exists():
        return
    unfinished.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(unfinished, flags, 0o600), "wb") as file:  # noqa: PTH123 - of a file that is open
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    unfinished.rename(path)
    sync_folder(path.parent)


# ---- what is in the way


def _refuse_what_is_in_the_way(found: Plan) -> None:
    try:
        there = list(_in_the_way(found))
    except OSError as refused:
        raise HostError(f"{refused.filename} cannot be looked at: {refused.strerror}") from refused
    if there:
        more = f"; and {len(there) - _LONGEST} more" if len(there) > _LONGEST else ""
        raise OperatorError(f"this host is not empty: {'; '.join(there[:_LONGEST])}{more}")


def _refuse_what_cannot_be_written(found: Plan) -> None:
    """Each folder that something goes to, or the one that it is to be made in. Raises HostError."""
    for folder in (found.place.layout.root, found.place.state, found.config.parent):
        there = next(each for each in (folder, *folder.parents) if os.path.isdir(each))  # noqa: PTH112 - Path.is_dir raises EACCES
        if not os.access(there, os.W_OK | os.X_OK):
            raise HostError(
                f"{folder} cannot be written to by you: say it as who may, or put the configuration elsewhere"
            )


def _in_the_way(found: Plan) -> Iterator[str]:
    """What is there and is not as in the backup, in words. Raises OSError."""
    for path, _, content, _ in found.files():
        if (path.exists() or path.is_symlink()) and not _is(path, content):
            yield f"{path} is there, and is another"
    for name in found.place.layout.names():
        wanted = found.examined.versions.get(name)
        if wanted is None:
            yield f"{found.place.layout.folder(name)} is there, and not in the backup"
        else:
            yield from _differs(found.place.layout.folder(name), wanted)
    link = found.place.layout.current_link
    if (link.is_symlink() or link.exists()) and found.place.layout.current() != (found.current or ""):
        yield f"{link} is there, and leads elsewhere"


def _is(path: Path, content: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content


def _differs(folder: Path, wanted: manifest.Manifest) -> Iterator[str]:
    try:
        if manifest.read(folder) == wanted:
            verify(folder, wanted)
            return
    except ReleaseError as damaged:
        yield f"{damaged}"
        return
    yield f"{folder} is there, and is another"
