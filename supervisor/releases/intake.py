"""What is added becomes a folder of our own, one thing at a time, with each one's digest taken from the very bytes.

Every name comes from elsewhere. So nothing is opened by a path: each part is opened below the one before it, and a link
is never followed (openat(2), O_NOFOLLOW); what is there already is never written to (O_EXCL). Modes are ours: 0444, or
0555 for what its owner may execute. Nothing is kept of owners, set-user-ID, times and attributes.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from msgspec import Struct, field

from supervisor.errors import ReleaseError
from supervisor.releases.manifest import Item, check_link, check_path, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AT_ONCE = 1 << 20
"""Bytes that are read at a time."""

_SPECIAL = 0o6000
"""set-user-ID and set-group-ID."""


class Limits(Struct, frozen=True, kw_only=True):
    """How much a release may be."""

    size: int = 8 << 30
    """Bytes of all files together."""
    count: int = 100_000
    """Files, folders and links."""


class Intake(Struct):
    """A new folder that is being filled."""

    folder: Path
    limits: Limits = field(default_factory=Limits)
    items: dict[str, Item] = field(default_factory=dict)
    size: int = 0

    def add_folder(self, path: str) -> None:
        """Have a folder there, and those that it is in."""
        check_path(path)
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            self._one_folder("/".join(parts[:depth]))

    def add_link(self, path: str, target: str) -> None:
        """Make a link. Raises ReleaseError if it would lead out."""
        self._new(path)
        check_link(path, target)
        with self._parent(path) as (parent, name):
            os.symlink(target, name, dir_fd=parent)
        self.items[path] = Item(path=path, kind="link", mode=0, target=target)

    def add_file(self, path: str, mode: int, size: int, content: BinaryIO) -> None:
        """Take a file in: exactly `size` bytes of `content`. Raises ReleaseError."""
        self._new(path)
        if mode & _SPECIAL:
            raise ReleaseError(f"{shown(path)} is set-user-ID or set-group-ID: chmod ug-s it, gapless runs a server as")
        if not 0 <= size <= self.limits.size - self.size:
            raise ReleaseError(f"there are more than {self.limits.size} bytes in it: that is no release")
        self.size += size
        ours = 0o555 if mode & 0o100 else 0o444
        with self._parent(path) as (parent, name):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, 0o200, dir_fd=parent)
            try:
                digest = _copied(path, content, size, fd)
                os.fchmod(fd, ours)
                os.fsync(fd)
            finally:
                os.close(fd)
        self.items[path] = Item(path=path, mode=ours, size=size, sha256=digest)

    def seal(self) -> tuple[Item, ...]:
        """Have all folders read-only and on disk, the deepest first; what there is, by path."""
        folders = [each.path for each in self.items.values() if each.kind == "folder"]
        for path in sorted(folders, key=lambda each: -each.count("/")):
            with self._opened(path) as fd:
                os.fchmod(fd, 0o555)
                os.fsync(fd)
        return tuple(self.items[path] for path in sorted(self.items))

    def _one_folder(self, path: str) -> None:
        known = self.items.get(path)
        if known is not None and known.kind == "folder":
            return
        self._new(path, with_parents=False)
        with self._parent(path) as (parent, name):
            os.mkdir(name, 0o755, dir_fd=parent)
        self.items[path] = Item(path=path, kind="folder", mode=0o555)

    def _new(self, path: str, *, with_parents: bool = True) -> None:
        check_path(path)
        if path in self.items:
            raise ReleaseError(f"{shown(path)} is there twice: which of the two is meant cannot be told")
        if len(self.items) >= self.limits.count:
            raise ReleaseError(f"there are more than {self.limits.count} files in it: that is no release")
        above = path.rpartition("/")[0]
        if with_parents and above:
            self.add_folder(above)

    @contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, str]]:
        above, _, name = path.rpartition("/")
        with self._opened(above) as fd:
            yield fd, name

    @contextmanager
    def _opened(self, path: str) -> Iterator[int]:
        """A folder of ours, opened part by part."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self.folder, flags)
        try:
            for part in path.split("/") if path else ():
                inner = os.open(part, flags, dir_fd=fd)
                os.close(fd)
                fd = inner
            yield fd
        finally:
            os.close(fd)


def _copied(path: str, content: BinaryIO, size: int, fd: int) -> str:
    """The digest of what was copied."""
    digest, left = hashlib.sha256(), size
    while left:
        piece = content.read(min(left, AT_ONCE))
        if not piece:
            raise ReleaseError(f"{shown(path)} is cut short ({size - left} bytes of {size}): copy it again")
        digest.update(piece)
        left -= len(piece)
        view = memoryview(piece)
        while view:
            view = view[os.write(fd, view) :]
    return digest.hexdigest()
