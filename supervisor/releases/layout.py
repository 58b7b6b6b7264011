"""The folder of a store, as operators know it: `versions/V/`, `current -> versions/V`, `backups/`.

`current` is moved by one rename(2) of a link that is whole already, so whoever looks finds the old version or the new.
Who changes what is in the folder holds a lock on `versions` itself (flock(2)): there is no file that would stay behind,
and it ends with the process. What is begun has a name with a dot before it, which no version has: whatever is called
so while nobody holds the lock has been left by somebody who was interrupted.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor.core.model import ANYWHERE
from supervisor.errors import HostError, OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}", re.ASCII)
_FOLDER_MODE = 0o755


def check_version(name: str) -> str:
    """What a version may be called: it becomes the name of a folder. Raises OperatorError."""
    if not _VERSION.fullmatch(name):
        shown = "".join(each if each.isprintable() else "?" for each in name)[:80]
        raise OperatorError(
            f'"{shown}" cannot be the name of a version: want 1 to 64 of the letters a to z, digits, and . _ + ~ -, '
            "with a letter or digit first"
        )
    return name


class Layout:
    """Where things are below a root."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.versions = self.root / "versions"
        self.backups = self.root / "backups"
        self.current_link = self.root / "current"

    def folder(self, version: str) -> Path:
        """Where a version is, there or not. Raises OperatorError if none can be called so."""
        return self.versions / check_version(version)

    def names(self) -> list[str]:
        """The versions that are there, the oldest first (by when they were put there)."""
        try:
            with os.scandir(self.versions) as entries:
                found = [(_made(each), each.name) for each in entries if _VERSION.fullmatch(each.name)]
        except FileNotFoundError:
            return []
        except OSError as refused:
            raise HostError(f"{self.versions} cannot be read: {refused.strerror}") from refused
        return [name for made, name in sorted(found) if made]

    def current(self) -> str | None:
        """The version that `current` leads to, by whatever way; None if it leads elsewhere or is not there."""
        if not self.current_link.is_symlink():
            return None
        leads_to = Path(os.path.realpath(self.current_link))
        if leads_to.parent != Path(os.path.realpath(self.versions)) or not _VERSION.fullmatch(leads_to.name):
            return None
        return leads_to.name

    def saved(self) -> list[Path]:
        """What is among the backups, in whatever order; nothing where there is no such folder. Raises OSError."""
        try:
            return list(self.backups.iterdir())
        except FileNotFoundError:
            return []

    def make(self) -> None:
        """Have the folders there. Raises HostError."""
        try:
            for folder in (self.root, self.versions, self.backups):
                folder.mkdir(mode=_FOLDER_MODE, parents=folder == self.root, exist_ok=True)
        except OSError as refused:
            raise HostError(f"{refused.filename} cannot be made: {refused.strerror}") from refused

    def may_point(self) -> bool:
        """Whether this process could move `current`."""
        is_link = self.current_link.is_symlink() or not self.current_link.exists()
        return is_link and os.access(self.root, os.W_OK | os.X_OK)

    def point(self, version: str, seen: Sequence[str | None]) -> bool:
        """Have `current` lead to a version, if it leads to one of `seen`; whether it was moved. Raises OSError.

        It is on disk when this returns.
        """
        leads_to = self.current()
        if leads_to == version or (leads_to not in seen and ANYWHERE not in seen):
            return False
        new = self.root / ".current.new"
        with suppress(FileNotFoundError):
            new.unlink()
        new.symlink_to(Path(self.versions.name) / version)
        if self.current_link.exists() and not self.current_link.is_symlink():
            new.unlink()
            raise IsADirectoryError(f"{self.current_link} is no link")
        new.replace(self.current_link)
        sync_folder(self.root)
        return True

    def claim(self) -> int:
        """A lock on the root, as long as this is open: of two that follow a `current` each undoes what the other does.

        Raises HostError, naming who has it, or OSError.
        """
        fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(fd)
            os.close(fd)
            raise HostError(f"{self.root} is followed by another service ({holder})") from None
        return fd

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, no other process changes what is there. Raises HostError, naming who does so now."""
        fd = self._open_versions()
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _holder(fd)
                raise HostError(f"{self.versions} is being changed by {holder}: wait until that has ended") from None
            yield
        finally:
            os.close(fd)

    def is_busy(self) -> bool:
        """Whether another process changes what is there."""
        try:
            with self.alone():
                return False
        except HostError:
            return True

    def _open_versions(self) -> int:
        try:
            return os.open(self.versions, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as refused:
            raise HostError(f"{self.versions} cannot be opened: {refused.strerror}") from refused


def sync_folder(path: Path) -> None:
    """Have the names in a folder on disk. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _made(entry: os.DirEntry[str]) -> int:
    """When a folder was made, in nanoseconds; 0: it is none, or has gone meanwhile. Raises OSError."""
    try:
        return entry.stat(follow_symlinks=False).st_ctime_ns if entry.is_dir(follow_symlinks=False) else 0
    except FileNotFoundError:
        return 0


def _holder(fd: int) -> str:
    """Who has the lock on this file, by proc_locks(5); the inode alone tells it well enough for people."""
    inode = os.fstat(fd).st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(inode):
            return f"pid {words[4]}"
    return "another process"
