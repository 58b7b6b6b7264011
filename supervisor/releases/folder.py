"""A folder that is to become a release, read without following a link: what is in it may be changed meanwhile."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from supervisor.errors import ReleaseError
from supervisor.releases.manifest import NAME, shown

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor.releases.intake import Intake

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEEPEST = 64


def take_folder(path: Path, intake: Intake) -> None:
    """Take in all that is in a folder. Raises ReleaseError or OSError, with some of it taken."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _take(fd, "", intake)
    finally:
        os.close(fd)


def take_file(fd: int, path: str, intake: Intake) -> None:
    """Take in one file that is open, under that name."""
    found = os.fstat(fd)
    os.lseek(fd, 0, os.SEEK_SET)
    with os.fdopen(os.dup(fd), "rb", buffering=0) as content:
        intake.add_file(path, found.st_mode, found.st_size, content)


def _take(folder: int, above: str, intake: Intake) -> None:
    if above.count("/") >= _DEEPEST:
        raise ReleaseError(f"{shown(above)} is too deep: want at most {_DEEPEST} folders within each other")
    for name in sorted(os.listdir(folder)):
        path = f"{above}{name}"
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not above and name == NAME:
            continue  # it is a version of a store itself
        if stat.S_ISDIR(found.st_mode):
            intake.add_folder(path)
            inner = os.open(name, _FOLDER, dir_fd=folder)
            try:
                _take(inner, f"{path}/", intake)
            finally:
                os.close(inner)
        elif stat.S_ISLNK(found.st_mode):
            intake.add_link(path, os.readlink(name, dir_fd=folder))
        elif stat.S_ISREG(found.st_mode):
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            try:
                take_file(fd, path, intake)
            finally:
                os.close(fd)
        else:
            raise ReleaseError(f"{shown(path)} is no file, folder or link: leave it out of the release")
