"""The SHA-256 of a release's file, by which it is known wherever it lies: at once, or piece by piece."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threading import Event

    from supervisor.core.model import Release

_PIECE = 256 * 1024
"""Bytes: some 0.2 ms of a processor."""


def digest(path: str) -> str:
    """The SHA-256 of a file, in hex. Takes a while: for a thread. Raises OSError."""
    with open(path, "rb") as file:  # noqa: PTH123 - file_digest wants a plain file object
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(release: Release) -> str:
    """That of a release's file; empty if another stands there by now. Takes a while: for a thread. Raises OSError."""
    return _if_same(release, digest(release.path))


def digest_at_leisure(release: Release, pause: float, over: Event) -> str:
    """`digest_of` with so many seconds of rest after each piece: what takes a processor at one go, clients feel.

    As soon as it is `over`, no more is read, and nothing is said. For a thread. Raises OSError.
    """
    found, room = hashlib.sha256(), memoryview(bytearray(_PIECE))
    with open(release.path, "rb", buffering=0) as file:  # noqa: PTH123 - as in `digest`
        while length := file.readinto(room):
            found.update(room[:length])
            if over.wait(pause):
                return ""
    return _if_same(release, found.hexdigest())


def _if_same(release: Release, found: str) -> str:
    now = Path(release.path).stat()  # a device may have another number since
    same = (now.st_ino, now.st_size, now.st_mtime_ns) == (release.inode, release.size, release.mtime_ns)
    return found if same else ""
