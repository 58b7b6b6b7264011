"""A version is added: taken in, checked, sealed, and then there by one rename(2), whole or not at all.

1. What is one file (a program or an archive) is copied to a file of ours, and its digest taken of what was copied. Who
   swaps or writes to the original from then on changes nothing.
2. Digest and signature are verified on that copy. Only then is an archive opened: one that nobody vouches for where
   somebody has to is never parsed.
3. All of it becomes a folder that nobody else looks at (`.adding.V`), each file synced, all of it read-only, with its
   manifest.
4. The folder gets its name, and that is on disk before anybody is told.

Killed anywhere before 4 it leaves something with a dot before its name, which the next one sweeps away.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from supervisor.errors import HostError, OperatorError, ReleaseError
from supervisor.releases import archive, folder, signatures
from supervisor.releases.intake import AT_ONCE, Intake, Limits
from supervisor.releases.layout import check_version, sync_folder
from supervisor.releases.manifest import NAME, SHA256, SIGNATURE, Check, Manifest, check_path, read, shown, to_json
from supervisor.releases.sums import Sums, is_digest, read_sums

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.core.launch import Store
    from supervisor.releases.layout import Layout

ADDING, TAKING, GONE, RESTORING = ".adding.", ".taking.", ".removing.", ".restoring."
"""How names begin of what is not a version yet, of the copy of an archive, of what is none any more, and of a version
that comes from a backup."""
SAVING = ".saving."
"""How the name of a backup begins that is being written."""
_BEGUN = {
    ADDING: "the adding of {}",
    TAKING: "the adding of {}",
    GONE: "the removal of {}",
    RESTORING: "the restoring of {}",
    SAVING: "the writing of {}",
}
_HEAD = 512


class Offer(Struct, frozen=True, kw_only=True):
    """What is to become a version."""

    source: Path
    version: str
    name: str | None = None
    """What a single file is to be called in the version; None: as it is called."""
    sha256: str | None = None
    """A digest, or the path of a file that has some."""
    signature: Path | None = None
    """Of the file, or of the file that `sha256` names, if it is called like that with a suffix."""


class Added(Struct, frozen=True):
    """A version that is there now."""

    manifest: Manifest
    new: bool
    """Whether it was not there before."""


def add(layout: Layout, store: Store, offer: Offer, limits: Limits | None = None) -> Added:
    """Add a version; one that is there already with the same content is left as it is. The lock is held.

    Raises OperatorError (ReleaseError where it is the release's fault), HostError or OSError; nothing is left then.
    """
    check_version(offer.version)
    _refuse_unchecked(store, offer)
    with _swept_behind(layout):
        intake = Intake(_new_folder(layout, offer.version), limits or Limits())
        checks, digest = _taken(layout, store, offer, intake)
        if not any(each.kind == "file" for each in intake.items.values()):
            raise ReleaseError(f"{offer.source} has no file in it: that is no release")
        manifest = Manifest(
            version=offer.version,
            items=intake.seal(),
            origin=str(offer.source.absolute()),
            origin_sha256=digest,
            uid=os.getuid(),
            user=user_name(),
            added=round(time.time(), 3),
            checks=tuple(checks),
        )
        there = layout.folder(offer.version)
        if there.exists():
            return Added(_the_same(there, manifest), new=False)
        finish(intake.folder, manifest)
        intake.folder.rename(there)
        sync_folder(layout.versions)
    return Added(manifest, new=True)


def _refuse_unchecked(store: Store, offer: Offer) -> None:
    """Before anything is copied."""
    given = {SHA256: offer.sha256, SIGNATURE: offer.signature}
    for kind in store.require:
        if given[kind] is None:
            raise OperatorError(f'releases.require has "{kind}": say --{kind} with what it is to be checked by')


def _taken(layout: Layout, store: Store, offer: Offer, intake: Intake) -> tuple[list[Check], str | None]:
    """What it was checked by, and the digest of what was one file."""
    checking = _Checking.of(store, offer)
    if offer.source.is_dir():
        checks = [*checking.of_list()]
        folder.take_folder(offer.source, intake)
        return [*checks, *checking.of_items(intake)], None
    if not offer.source.exists():
        raise OperatorError(f"{offer.source} is not there")
    copy = layout.versions / f"{TAKING}{offer.version}"
    mode, digest = _copied(offer.source, copy)
    with copy.open("rb", buffering=0) as file:
        checks = [*checking.of_list(), *checking.of_file(file.fileno(), digest)]
        head = os.pread(file.fileno(), _HEAD, 0)
        file.seek(0)
        if archive.is_archive(head):
            archive.unpack(file, copy.stat().st_size, intake)
        else:
            copy.chmod(mode)
            folder.take_file(file.fileno(), check_path(offer.name or offer.source.name), intake)
    copy.unlink()
    return checks, digest


class _Checking(Struct, frozen=True):
    """What was given to check an offer by."""

    store: Store
    source: Path
    sums: Sums | None
    list_path: Path | None
    """The file that the digests come from."""
    signature: Path | None

    @classmethod
    def of(cls, store: Store, offer: Offer) -> _Checking:
        """Read what was given. Raises OperatorError."""
        given = offer.sha256
        path = None if given is None or is_digest(given) else Path(given)
        sums = None if given is None else read_sums(path or given)
        if offer.signature is not None and offer.source.is_dir() and path is None:
            raise OperatorError("a folder is signed by way of the file with its digests: say --sha256 FILE, too")
        return cls(store, offer.source, sums, path, offer.signature)

    @property
    def _signs_list(self) -> bool:
        """SHA256SUMS.asc is of SHA256SUMS, and of nothing else."""
        if self.list_path is None or self.signature is None:
            return False
        return self.source.is_dir() or self.signature.name.startswith(f"{self.list_path.name}.")

    def of_list(self) -> Iterator[Check]:
        """The signature of the file that has the digests."""
        if not self._signs_list or self.list_path is None or self.signature is None:
            return
        fd = os.open(self.list_path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield Check(kind=SIGNATURE, by=signatures.verified(fd, self.signature, self.store))
        finally:
            os.close(fd)

    def of_file(self, fd: int, digest: str) -> Iterator[Check]:
        """What is said of a single file."""
        if self.sums is not None:
            self.sums.check(self.source.name, digest)
            yield Check(kind=SHA256, by=digest)
        if self.signature is not None and not self._signs_list:
            yield Check(kind=SIGNATURE, by=signatures.verified(fd, self.signature, self.store))

    def of_items(self, intake: Intake) -> Iterator[Check]:
        """What is said of each file of a folder. The list itself, and its signature, may lie in it."""
        if self.sums is not None and self.list_path is not None:
            beside = [each.name for each in (self.list_path, self.signature) if each is not None]
            self.sums.check_all([*intake.items.values()], beside)
            yield Check(kind=SHA256, by=f"{self.list_path.name}")


def _copied(source: Path, copy: Path) -> tuple[int, str]:
    """The mode of a file, and the digest of what was copied of it."""
    fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(fd, "rb", buffering=0) as original, copy.open("xb") as ours:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OperatorError(f"{source} is no file and no folder: name what is to be added")
        digest = hashlib.sha256()
        while piece := original.read(AT_ONCE):
            digest.update(piece)
            ours.write(piece)
    return stat.S_IMODE(found.st_mode), digest.hexdigest()


def _new_folder(layout: Layout, version: str) -> Path:
    made = layout.versions / f"{ADDING}{version}"
    made.mkdir(mode=0o700)
    return made


def finish(made: Path, manifest: Manifest) -> None:
    """The manifest, and the folder's own mode, which is the last that is done to it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(made / NAME, flags, 0o600), "wb") as file:  # noqa: PTH123 - of a file that is open
        file.write(to_json(manifest))
        file.flush()
        os.fchmod(file.fileno(), 0o444)
        os.fsync(file.fileno())
    made.chmod(0o555)
    sync_folder(made)


def _the_same(there: Path, manifest: Manifest) -> Manifest:
    """The version that has this name, if it is the same. Raises OperatorError."""
    found = read(there)
    if found is None or found.digest != manifest.digest:
        raise OperatorError(
            f"{shown(manifest.version)} is there already, and is another: choose another name, or remove it first"
        )
    return found


class _swept_behind:  # noqa: N801 - reads as a function
    """Whatever goes wrong inside, nothing is left of it."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def __enter__(self) -> None:
        """Sweep before, too: a name that is taken is taken by what was interrupted."""
        sweep(self._layout)

    def __exit__(self, *_: object) -> None:
        """Of what went well there is nothing to sweep."""
        sweep(self._layout)


def sweep(layout: Layout) -> list[str]:
    """Clear away what was interrupted, and say what it was. The lock is held. Raises HostError."""
    told = []
    try:
        for path in sorted([*layout.versions.iterdir(), *layout.saved()]):
            begins = next((each for each in _BEGUN if path.name.startswith(each)), None)
            if begins is not None:
                destroy(path)
                told.append(_BEGUN[begins].format(path.name.removeprefix(begins)))
        link = layout.root / ".current.new"
        if link.is_symlink():
            link.unlink()
            told.append("a move of current")
    except OSError as refused:
        raise HostError(f"{refused.filename} was left by an interruption and cannot be removed: {refused}") from refused
    return sorted(set(told))


def destroy(path: Path) -> None:
    """Remove a file or a folder of ours, whatever modes it has. Raises OSError."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for above, _, _ in os.walk(path):
        Path(above).chmod(0o700)
    shutil.rmtree(path)


def user_name() -> str:
    """Who adds it, and by sudo for whom: for people, who are told no more than the caller says."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    behind = os.environ.get("SUDO_USER")
    return f"{name} (sudo by {shown(behind)})" if behind else name
