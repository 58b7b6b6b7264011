"""A backup is read: all of it is checked before anything is put anywhere, and each version is unpacked out of sight.

1. The digest of the archive is taken, and held against what was given to check it by. Only then is it opened.
2. It is read once, and nothing is written. Its manifest is in front; from then on a member that is not in that, is
   there twice, lacks, or is not what that says is refused, and so is a version whose own manifest says something else.
   The digest is taken once more of what was read.
3. It is read again, for the versions, into folders that nobody else looks at (`.restoring.V`), and what is there in the
   end is verified as any version is. A name is never trusted (`intake`).

Killed anywhere in 3 it leaves something with a dot before its name, which is swept away.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from msgspec import Struct, field

from supervisor.core.launch import Store
from supervisor.core.value import replace
from supervisor.errors import HostError, OperatorError, ReleaseError
from supervisor.releases import archive, backup, signatures
from supervisor.releases.intake import AT_ONCE, Intake
from supervisor.releases.layout import sync_folder
from supervisor.releases.manifest import LARGEST, Manifest, shown
from supervisor.releases.manifest import NAME as MANIFEST
from supervisor.releases.manifest import from_json as manifest_from_json
from supervisor.releases.seal import RESTORING, finish
from supervisor.releases.sums import is_digest, read_sums
from supervisor.releases.verify import digest_of, verify

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from supervisor.releases.backup import Backup
    from supervisor.releases.layout import Layout
    from supervisor.releases.manifest import Item

_LARGEST = 128 << 30
"""Bytes of a backup that is not packed."""
_LARGEST_TOGETHER = 256 << 20
"""Bytes of all that is kept in memory: configuration, state and manifests."""


class Proof(Struct, frozen=True, kw_only=True):
    """What a backup is to be checked by."""

    sha256: str | None = None
    """A digest, or the path of a file that has some."""
    signature: Path | None = None
    keyring: str | None = None
    """The file of OpenPGP keys that this may be by."""
    keys: tuple[str, ...] = ()
    """The Ed25519 keys that it may be by, as in `Store`."""

    def check(self, fd: int, path: Path, digest: str) -> tuple[str, ...]:
        """What it was found to be checked by, in words. Raises OperatorError."""
        said = []
        if self.sha256 is not None:
            given = self.sha256
            read_sums(given if is_digest(given) else Path(given)).check(path.name, digest)
            said.append(f"sha256 {digest}")
        if self.signature is not None:
            trusted = Store(root="", keyring=self.keyring, keys=self.keys)
            said.append(f"signature {signatures.verified(fd, self.signature, trusted)}")
        return tuple(said)


class Examined(Struct, frozen=True, kw_only=True):
    """A backup that is whole."""

    manifest: Backup
    small: Mapping[str, bytes]
    """Configuration, state and manifests, by path."""
    versions: Mapping[str, Manifest]
    """Those that are in it, the oldest first."""
    absent: Mapping[str, Manifest]
    """Those of which it has the manifest alone."""
    sha256: str
    checks: tuple[str, ...]
    """What it was checked by beside its own manifest."""


def examine(file: BinaryIO, path: Path, proof: Proof) -> Examined:
    """See that a backup is whole, and what it should be. Nothing is written. Raises OperatorError or OSError."""
    fd = file.fileno()
    found, digest = digest_of(fd)
    checks = proof.check(fd, path, digest)
    os.lseek(fd, 0, os.SEEK_SET)
    going_by, reading = backup.Digested(file), _Reading()
    archive.read(cast("BinaryIO", going_by), found.st_size, _LARGEST, reading.take)
    while going_by.read(AT_ONCE):
        pass
    if going_by.sha256 != digest:
        raise ReleaseError(f"{path} is being changed: copy it to where nobody does")
    manifest = reading.finished()
    versions = {each: _manifest(reading.small[backup.manifest_of(each)], each) for each in manifest.versions}
    there: dict[str, dict[str, Item]] = {name: {} for name in versions}
    for member in manifest.members:
        place = backup.in_version(member.path)
        if place is None:
            continue
        if place[0] not in versions:
            raise ReleaseError(f"{shown(member.path)} is in the backup without the manifest of {place[0]}")
        if place[1] != MANIFEST:
            there[place[0]][place[1]] = replace(member, path=place[1])
    for name, each in versions.items():
        _check_alike(name, each, there[name])
    return Examined(
        manifest=manifest,
        small=reading.small,
        versions=versions,
        absent={each: _manifest(reading.small[backup.absent_manifest_of(each)], each) for each in manifest.absent},
        sha256=digest,
        checks=checks,
    )


def unpack(file: BinaryIO, examined: Examined, layout: Layout, wanted: Iterable[str]) -> None:
    """Have those versions in folders out of sight, whole and verified. The lock is held, and all is swept.

    Raises ReleaseError, HostError or OSError; what there is by then is to be swept away.
    """
    intakes = {name: Intake(_folder(layout, name)) for name in wanted}
    for each in intakes.values():
        each.folder.mkdir(mode=0o700)
    fd = file.fileno()
    os.lseek(fd, 0, os.SEEK_SET)
    reading = _Reading(intakes)
    archive.read(file, os.fstat(fd).st_size, _LARGEST, reading.take)
    if reading.finished() != examined.manifest:
        raise ReleaseError("the backup is being changed: copy it to where nobody does")
    for name, intake in intakes.items():
        intake.seal()
        finish(intake.folder, examined.versions[name])
        verify(intake.folder, examined.versions[name])


def put_in_place(layout: Layout, version: str) -> None:
    """What was unpacked becomes a version. Raises OSError."""
    _folder(layout, version).rename(layout.folder(version))
    sync_folder(layout.versions)


def _folder(layout: Layout, version: str) -> Path:
    return layout.versions / f"{RESTORING}{version}"


def _manifest(text: bytes, version: str) -> Manifest:
    found = manifest_from_json(text)
    if found.version != version:
        raise ReleaseError(f"the manifest of {version} is that of {shown(found.version)}")
    return found


def _check_alike(version: str, manifest: Manifest, there: dict[str, Item]) -> None:
    """See that the backup has of a version what that was sealed as, each thing in a folder. Raises ReleaseError."""
    folders = {"", *(each.path for each in manifest.items if each.kind == "folder")}
    for item in manifest.items:
        if there.pop(item.path, None) != item:
            raise ReleaseError(f"{shown(item.path)} of {version} is not in the backup as its manifest says")
        if item.path.rpartition("/")[0] not in folders:
            raise ReleaseError(f"{shown(item.path)} of {version} is in no folder of its manifest")
    if there:
        raise ReleaseError(f"{shown(min(there))} is in the backup, and not in the manifest of {version}")


class _Reading(Struct):
    """Takes member after member, each of which has to be what the manifest in front says of it."""

    intakes: Mapping[str, Intake] = field(default_factory=dict)
    """Where versions go to; others are read all the same."""
    small: dict[str, bytes] = field(default_factory=dict)
    _backup: Backup | None = None
    _wanted: dict[str, Item] = field(default_factory=dict)
    _kept: int = 0

    def take(self, member: archive.Member) -> None:
        """Raises ReleaseError or OSError."""
        if self._backup is None:
            self._backup = self._first(member)
            self._wanted = {each.path: each for each in self._backup.members}
            return
        item = self._wanted.pop(member.path, None)
        if item is None:
            raise ReleaseError(f"{shown(member.path)} is not in its manifest, or is there twice")
        about = (member.kind, member.size, member.target)
        if about != (item.kind, item.size, item.target) or (member.kind != "link" and member.mode != item.mode):
            raise ReleaseError(f"{shown(item.path)} is another than its manifest says")
        place = backup.in_version(item.path)
        is_small = place is None or place[1] == MANIFEST
        intake = None if place is None or is_small else self.intakes.get(place[0])
        if is_small or intake is None or place is None:
            digest = self._read(member, keep=is_small)
        else:
            digest = _taken(intake, place[1], member)
        if digest != item.sha256:
            raise ReleaseError(f"{shown(item.path)} is not what it was: its SHA-256 is {digest}")

    def finished(self) -> Backup:
        """The manifest, if all was there that it speaks of. Raises ReleaseError."""
        if self._backup is None:
            raise ReleaseError("there is nothing in it: it is no backup")
        if self._wanted:
            raise ReleaseError(f"{shown(next(iter(self._wanted)))} is missing in the backup: copy it again")
        return self._backup

    def _first(self, member: archive.Member) -> Backup:
        if member.path != backup.NAME or member.content is None:
            raise ReleaseError(f"it begins with {shown(member.path)} and not with {backup.NAME}: it is no backup")
        self._read(member, keep=True)
        return backup.from_json(self.small.pop(backup.NAME))

    def _read(self, member: archive.Member, *, keep: bool) -> str:
        """The digest of its content, if it has some."""
        if member.content is None:
            return ""
        self._kept += member.size if keep else 0
        if keep and (member.size > LARGEST or self._kept > _LARGEST_TOGETHER):
            raise ReleaseError(f"{shown(member.path)} has {member.size} bytes: that is too much")
        content, pieces, left = backup.Digested(member.content), [], member.size
        while left:
            piece = content.read(min(left, AT_ONCE))
            if not piece:
                raise ReleaseError(f"{shown(member.path)} is cut short: copy the backup again")
            left -= len(piece)
            if keep:
                pieces.append(piece)
        if keep:
            self.small[member.path] = b"".join(pieces)
        return content.sha256


def _taken(intake: Intake, inner: str, member: archive.Member) -> str:
    """The digest of what was taken in, if it has content."""
    if member.kind == "folder":
        intake.add_folder(inner)
    elif member.kind == "link":
        intake.add_link(inner, member.target)
    elif member.content is not None:
        intake.add_file(inner, member.mode, member.size, member.content)
    return intake.items[inner].sha256


def opened(path: Path, proof: Proof) -> BinaryIO:
    """A backup's file; with a signature, our own copy of it without a name. Raises OperatorError or HostError.

    It is read several times, and what somebody has signed has to be what is unpacked.
    """
    file = _opened(path)
    return file if proof.signature is None else _copied(file, path)


def _copied(file: BinaryIO, path: Path) -> BinaryIO:
    folder = os.environ.get("TMPDIR", "/var/tmp")  # noqa: S108 - it has no name there
    try:
        with file:
            ours = cast("BinaryIO", tempfile.TemporaryFile(dir=folder, buffering=0))  # noqa: SIM115 - the caller closes it
            shutil.copyfileobj(file, ours)
    except OSError as refused:
        raise HostError(
            f"{path} cannot be copied to {folder} to be verified there: {refused.strerror}; TMPDIR names another folder"
        ) from refused
    ours.seek(0)
    return ours


def _opened(path: Path) -> BinaryIO:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as refused:
        raise OperatorError(f"{path} cannot be read: {refused.strerror}") from refused
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OperatorError(f"{path} is no file: name a backup")
    return cast("BinaryIO", os.fdopen(fd, "rb", buffering=0))
