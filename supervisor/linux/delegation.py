"""The part of the host's cgroups that is ours to divide, and how we divide it.

Whoever may write to a cgroup is not meant to: root may everywhere, and systemd puts right what is done behind its back.
So it has to be given to us: by systemd's mark (an xattr on what `Delegate=` names, systemd.resource-control(5)), by its
owner, if that is us and systemd has nothing to do with it, or as the whole of a container's own namespace
(cgroup_namespaces(7)). A cgroup that hands a controller on to those below has no process of its own ("no internal
process", cgroup-v2.rst), so for the sake of memory's figures the supervisor makes way, into a leaf of its own.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from supervisor.errors import HostError
from supervisor.linux import host, process
from supervisor.linux.cgroup import Leaf, members

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MARKS = ("user.delegate", "trusted.delegate")
"""The system's systemd sets both; an ordinary user can read the first alone."""

_SYSTEMDS = (".service", ".scope", ".slice")
_MEMORY = "memory"
_PATIENCE = 1.0
"""Seconds."""


class Delegation:
    """Our cgroup, divided: a leaf for each run of a server, and one for the supervisor if need be."""

    def __init__(self, service: str) -> None:
        """Take it. Raises HostError: there is none that is ours to divide."""
        self._service = service
        self.folder = _delegated(service)
        self.memory = self._charge()
        """Whether memory is counted for each leaf."""

    def leaf(self, generation: int, run: int) -> Leaf:
        """Make one that nobody has been in. Raises HostError."""
        path = self.folder / f"{self._service}.gen-{generation}.{run}"
        while path.exists():  # of an earlier supervisor, and perhaps not empty
            path = path.with_name(f"{path.name}+")
        try:
            path.mkdir()
        except OSError as refused:
            raise HostError(f"the cgroup {path} cannot be made: {refused.strerror}") from refused
        return Leaf(path, charged=self.memory)

    def leaf_of(self, pid: int) -> Leaf | None:
        """The leaf that a process is in which an earlier supervisor has started; None if it is in none."""
        folder = host.cgroup(pid)
        if folder is None or not folder.name.startswith(f"{self._service}.gen-"):
            return None
        return Leaf(folder, charged=False)

    def leaves(self) -> Iterator[Leaf]:
        """All that are there."""
        for path in self.folder.glob(f"{self._service}.gen-*"):
            yield Leaf(path, charged=False)

    def leave(self) -> None:
        """Make it again as it was given to us, but for the leaves that are left, so that systemd can start the next.

        It puts a new process into the very cgroup that it has delegated, which must not hand on a controller then.
        """
        own = self._own()
        if not own.exists():
            return
        with suppress(OSError):
            (self.folder / "cgroup.subtree_control").write_text(f"-{_MEMORY}")
            (self.folder / "cgroup.procs").write_text(str(os.getpid()))
            own.rmdir()

    def _own(self) -> Path:
        return self.folder / _own_name(self._service)

    def _charge(self) -> bool:
        """Have memory counted for each leaf, if that can be had."""
        control = self.folder / "cgroup.subtree_control"
        with suppress(OSError):
            if _MEMORY in control.read_text().split():
                return True
            if _MEMORY not in (self.folder / "cgroup.controllers").read_text().split():
                return False
            ours = {os.getpid()} | process.descendants_of(os.getpid())
            if members(self.folder) - ours:
                return False
            self._own().mkdir(exist_ok=True)
            for pid in members(self.folder):
                Leaf(self._own(), charged=False).enter(pid)
            control.write_text(f"+{_MEMORY}")
            return True
        return False


def fault(folder: Path | None) -> str | None:
    """Why the cgroup that we are in is not ours to divide; None if it is."""
    if folder is None or os.getpid() not in members(folder):
        return "no cgroup v2 that we are in can be seen"
    if not (folder / "cgroup.type").exists():
        return "we are in the root of all cgroups, which nobody can be given"
    needed = (folder, folder / "cgroup.procs", folder / "cgroup.subtree_control")
    if not all(os.access(each, os.W_OK) for each in needed):
        return f"{folder} may not be divided by us"
    return None if _is_given(folder) else f"{folder} has not been given to us"


def _delegated(service: str) -> Path:
    folder = host.cgroup()
    if folder is not None and folder.name == _own_name(service):  # we made way before an exec of ourselves
        return folder.parent
    wrong = fault(folder)
    if folder is None or wrong is not None:
        raise HostError(wrong or "")
    return folder


def _own_name(service: str) -> str:
    return f"{service}.supervisor"


def _is_given(folder: Path) -> bool:
    for mark in _MARKS:
        with suppress(OSError):
            if os.getxattr(folder, mark) == b"1":
                return True
    owned = folder.stat().st_uid == os.geteuid() != 0
    if folder.name.endswith(_SYSTEMDS):
        return owned and _says_the_users_systemd(folder.name)
    if os.path.ismount(folder):
        return True
    return owned


def _says_the_users_systemd(unit: str) -> bool:
    """`systemd --user` (252) marks nothing, and all its cgroups belong to the user: so it is asked."""
    asked = ["systemctl", "--user", "show", "--property=Delegate", "--value", unit]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=_PATIENCE)
    except (OSError, subprocess.SubprocessError):
        return False
    return told.stdout.strip() == "yes"
