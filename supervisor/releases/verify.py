"""Whether a version is still what its manifest says: everything that is in it, and nothing else.

It is looked at below an open folder, and no link is followed. What it answers of a file holds for the very file that
was read: with its digest go its device, inode, size and the time of its last change, by which whoever opens it later
knows whether it is that one, untouched (the kernel sets that time, nobody else can: inode(7), ctime).
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from typing import TYPE_CHECKING

from msgspec import Struct

from supervisor.errors import ReleaseError
from supervisor.releases.manifest import NAME, Item, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from supervisor.core.launch import Store
    from supervisor.releases.manifest import Manifest

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CLOSE = 2_000_000_000
"""Nanoseconds: a change that was so short a time ago might be followed by one that leaves the same time behind."""
_OTHERS_WRITE = 0o022


class Seen(Struct, frozen=True, kw_only=True):
    """A file as it was when its digest was taken."""

    device: int
    inode: int
    mode: int
    size: int
    ctime_ns: int | None
    """None: it was changed too short a time before that to tell by it."""
    sha256: str


def verify(folder: Path, manifest: Manifest) -> Mapping[str, Seen]:
    """See that a version is what was sealed: each file of it, by path. Takes a while. Raises ReleaseError."""
    wanted = {each.path: each for each in manifest.items}
    seen: dict[str, Seen] = {}
    try:
        fd = os.open(folder, _FOLDER)
        try:
            for path, found in _walk(fd, ""):
                _compare(path, found, wanted.pop(path, None), seen)
        finally:
            os.close(fd)
    except OSError as refused:
        raise ReleaseError(f"{folder} cannot be looked at: {refused.strerror}") from refused
    except ReleaseError as wrong:
        raise ReleaseError(f"{folder} is not as it was sealed: {wrong}") from None
    if wanted:
        raise ReleaseError(f"{folder} is not as it was sealed: {shown(min(wanted))} is missing")
    return seen


def check_policy(folder: Path, manifest: Manifest, store: Store) -> None:
    """See that a version has passed what is required, and that nobody else can have said so. Raises ReleaseError."""
    for kind in store.require:
        if kind not in manifest.checked_by:
            raise ReleaseError(f'{folder} was added without a {kind}, and releases.require has "{kind}": add it again')
    if not store.require:
        return
    for path in (folder / NAME, folder, folder.parent, folder.parent.parent):
        try:
            found = path.lstat()
        except OSError as refused:
            raise ReleaseError(f"{path} cannot be looked at: {refused.strerror}") from refused
        if found.st_uid not in {0, os.geteuid()} or found.st_mode & _OTHERS_WRITE:
            raise ReleaseError(
                f"{path} may be written to by others than root and gapless, so what it says may be theirs: "
                f"chown root {path}; chmod go-w {path}"
            )


def digest_of(fd: int) -> tuple[os.stat_result, str]:
    """The digest of an open file, and the file as it was meanwhile. Raises ReleaseError if it changes."""
    before = os.fstat(fd)
    with os.fdopen(os.dup(fd), "rb", buffering=0) as file:
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    after = os.fstat(fd)
    if (before.st_size, before.st_ctime_ns) != (after.st_size, after.st_ctime_ns):
        raise ReleaseError("it is being changed")
    return after, digest


def settled(found: os.stat_result) -> int | None:
    """The time of the last change, if that lies far enough back to tell one change from another."""
    return found.st_ctime_ns if time.time_ns() - found.st_ctime_ns > _CLOSE else None


def _walk(folder: int, above: str) -> Iterator[tuple[str, Item | Seen | str]]:
    """Everything there is: a link or folder as an item, a file as it was seen, anything else in words."""
    for name in os.listdir(folder):
        path = f"{above}{name}"
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if path == NAME:
            continue
        if stat.S_ISDIR(found.st_mode):
            yield path, Item(path=path, kind="folder", mode=stat.S_IMODE(found.st_mode))
            inner = os.open(name, _FOLDER, dir_fd=folder)
            try:
                yield from _walk(inner, f"{path}/")
            finally:
                os.close(inner)
        elif stat.S_ISLNK(found.st_mode):
            yield path, Item(path=path, kind="link", mode=0, target=os.readlink(name, dir_fd=folder))
        elif stat.S_ISREG(found.st_mode):
            yield path, _seen(name, folder)
        else:
            yield path, "neither file nor folder nor link"


def _seen(name: str, folder: int) -> Seen | str:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        found, digest = digest_of(fd)
    except ReleaseError as changing:
        return str(changing)
    finally:
        os.close(fd)
    return Seen(
        device=found.st_dev,
        inode=found.st_ino,
        mode=stat.S_IMODE(found.st_mode),
        size=found.st_size,
        ctime_ns=settled(found),
        sha256=digest,
    )


def _compare(path: str, found: Item | Seen | str, wanted: Item | None, seen: dict[str, Seen]) -> None:
    if wanted is None:
        raise ReleaseError(f"{shown(path)} was not there")
    match found:
        case str():
            raise ReleaseError(f"{shown(path)}: {found}")
        case Seen() if wanted.kind == "file":
            if found.size != wanted.size:
                raise ReleaseError(f"{shown(path)} has {found.size} bytes of {wanted.size}")
            if found.sha256 != wanted.sha256:
                raise ReleaseError(f"{shown(path)} has changed (its SHA-256 is {found.sha256})")
            if found.mode != wanted.mode:
                raise ReleaseError(f"{shown(path)} has mode {found.mode:04o}, and had {wanted.mode:04o}")
            seen[path] = found
        case Item() if found == wanted:
            pass
        case _:
            raise ReleaseError(f"{shown(path)} is another")
