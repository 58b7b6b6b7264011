"""From a command as configured to a release: symlinks resolved, the file checked, its identity kept."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor.core.model import Release
from supervisor.core.value import replace
from supervisor.errors import ReleaseError
from supervisor.releases.digest import digest
from supervisor.releases.format import check_format

if TYPE_CHECKING:
    from supervisor.core.launch import Launch


def pin(launch: Launch) -> Release:
    """The release that this command means now. Its symlinks are resolved, and its first word becomes the pinned path.

    Raises ReleaseError: no such file, not a regular file, not executable, not for this machine.
    """
    path = _resolve(_find(launch))
    _check_name(path)
    found = _stat(path)
    _check_executable(path, found)
    check_format(path, found.st_size, launch.directory)
    return Release(
        id=_name(path, found),
        path=str(path),
        device=found.st_dev,
        inode=found.st_ino,
        size=found.st_size,
        mtime_ns=found.st_mtime_ns,
        launch=replace(launch, argv=(str(path), *launch.argv[1:])),
    )


def pin_again(release: Release) -> Release:
    """The same release if its file is untouched; what now stands at its path if not. Raises ReleaseError."""
    try:
        now = Path(release.path).stat()
    except OSError:
        return pin(release.launch)
    before = (release.device, release.inode, release.size, release.mtime_ns)
    return release if before == (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns) else pin(release.launch)


def recall(release: Release) -> Release:
    """A release that served before, to serve again. Raises ReleaseError if its file is gone or has changed."""
    try:
        found = pin(release.launch)
    except ReleaseError as gone:
        raise ReleaseError(f"release {release.id} cannot be returned to: {gone}") from gone
    if found.same_file(release):
        return release
    if release.sha256 is not None and digest(release.path) == release.sha256:
        return replace(found, sha256=release.sha256)
    raise ReleaseError(
        f"release {release.id} cannot be returned to: {release.path} has changed since it served; "
        "put the old file back, or upgrade to what is there"
    )


def _find(launch: Launch) -> Path:
    first = launch.argv[0]
    if "/" in first:
        return Path(launch.directory, first)
    search = dict(launch.environment).get("PATH") or os.environ.get("PATH", os.defpath)
    found = shutil.which(first, path=search)
    if found is None:
        raise ReleaseError(f"{first} is not in PATH ({search}): give its full path")
    return Path(found)


def _resolve(path: Path) -> Path:
    """Follow symlinks, but leave a Python of a virtual environment under its own name: it finds the packages by it."""
    try:
        if path.is_symlink() and (path.parent.parent / "pyvenv.cfg").exists():
            return path.parent.resolve(strict=True) / path.name
        return path.resolve(strict=True)
    except (OSError, RuntimeError) as broken:
        raise ReleaseError(f"{path} cannot be found: {_dangling(path) or _reason(broken)}") from broken


def _dangling(path: Path) -> str:
    """Which symlink on the way leads nowhere, in words; empty if none does."""
    for part in (*reversed(path.parents), path):
        if part.is_symlink() and not part.exists():
            return f"the symlink {part} leads to {part.readlink()}, which is not there"
    return ""


def _check_name(path: Path) -> None:
    """It is told in logs, and to machines."""
    name = os.fsencode(path).decode(errors="backslashreplace")
    if name != str(path):
        raise ReleaseError(f"{name} is no name in UTF-8: give the file, or the folder that it is in, another")


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as refused:
        raise ReleaseError(f"{path} cannot be looked at: {_reason(refused)}") from refused


def _check_executable(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ReleaseError(f"{path} is not a file: name the program itself")
    if not found.st_mode & 0o111:
        raise ReleaseError(f"{path} is not executable: chmod +x {path}")


def _name(path: Path, found: os.stat_result) -> str:
    """For people: the version if it lies in `versions/V/`, else the file's name; with what tells its likes apart."""
    parts = path.parts
    name = parts[parts.index("versions") + 1] if "versions" in parts[:-2] else path.name
    identity = f"{path}\0{found.st_dev}\0{found.st_ino}\0{found.st_size}\0{found.st_mtime_ns}"
    return f"{name}+{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


def _reason(refused: Exception) -> str:
    return getattr(refused, "strerror", None) or "its symlinks go round in a circle"
