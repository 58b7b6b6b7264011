"""What can be read of the host: settings, limits, rights, mounts. Each function gives None for what cannot be read."""

from __future__ import annotations

import os
import resource
import stat
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

_CONTROLLERS_OF_V2 = "0::"
"""cgroups(7): the line of /proc/self/cgroup that is of the unified hierarchy."""


def sysctl(name: str) -> str | None:
    """A setting by its dotted name, as it stands in /proc/sys (of this network namespace, for net.*)."""
    try:
        return Path("/proc/sys", *name.split(".")).read_text().strip()
    except OSError:
        return None


def number(name: str) -> int | None:
    """A setting that is one number."""
    text = sysctl(name)
    return int(text) if text is not None and text.lstrip("-").isdecimal() else None


def port_range() -> tuple[int, int] | None:
    """From which ports outgoing connections get theirs (net.ipv4.ip_local_port_range), both included."""
    words = (sysctl("net.ipv4.ip_local_port_range") or "").split()
    return (int(words[0]), int(words[1])) if len(words) == len(("first", "last")) else None


def reserved_ports() -> frozenset[int]:
    """Ports that no outgoing connection gets (net.ipv4.ip_local_reserved_ports: `8080,9000-9010`)."""
    found: set[int] = set()
    for part in (sysctl("net.ipv4.ip_local_reserved_ports") or "").split(","):
        first, _, last = part.partition("-")
        if first.isdecimal():
            found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def limit(which: int) -> tuple[int, int]:
    """Soft and hard of one of our own limits (resource.RLIMIT_*); -1 is unlimited."""
    return resource.getrlimit(which)


def capable(capability: int) -> bool | None:
    """Whether we have a capability (capabilities(7)) by number, in effect."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    effective = status.partition("CapEff:")[2].split()
    return bool(int(effective[0], 16) >> capability & 1) if effective else None


def tasks_of(uid: int) -> int | None:
    """How many processes and threads a user has, as RLIMIT_NPROC counts them."""
    try:
        pids = [name for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208 - a Path for each is dear
    except OSError:
        return None
    count = 0
    for pid in pids:
        with suppress(OSError, IndexError, ValueError):
            if os.stat(f"/proc/{pid}").st_uid == uid:  # noqa: PTH116 - a Path for each is dear
                text = Path(f"/proc/{pid}/stat").read_bytes()
                count += int(text[text.rindex(b")") + 2 :].split()[17])  # proc(5): num_threads
    return count


def memory_available() -> int | None:
    """Bytes that can be had without swapping: the host's, or fewer if a memory limit of our cgroup leaves fewer."""
    found = []
    with suppress(OSError, IndexError, ValueError):
        text = Path("/proc/meminfo").read_text()
        found.append(int(text.partition("MemAvailable:")[2].split()[0]) * 1024)
    folder = cgroup()
    while folder is not None and (folder / "memory.max").exists():
        with suppress(OSError, ValueError):  # ValueError: `max`
            left = int((folder / "memory.max").read_text()) - int((folder / "memory.current").read_text())
            found.append(max(0, left))
        folder = folder.parent
    return min(found, default=None)


def cgroup(pid: int | None = None) -> Path | None:
    """The folder of the cgroup (v2) that we are in, or that another process is."""
    try:
        lines = Path(f"/proc/{'self' if pid is None else pid}/cgroup").read_text().splitlines()
    except OSError:
        return None
    path = next((line[len(_CONTROLLERS_OF_V2) :] for line in lines if line.startswith(_CONTROLLERS_OF_V2)), None)
    if path is None:
        return None
    roots = [mount.point for mount in mounts() if mount.kind == "cgroup2"]  # one may hide under a later one
    folders = [Path(f"{root}/{path.lstrip('/')}") for root in reversed(roots)]
    return next((folder for folder in folders if folder.is_dir()), None)


class Mount(Struct, frozen=True):
    """One line of /proc/self/mountinfo: where, and which kind of file system."""

    point: str
    kind: str


def mounts() -> list[Mount]:
    """All of them, in the order of mounting (proc(5), mountinfo); none if they cannot be read."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        before, _, after = line.partition(" - ")
        if after:
            point = before.split()[4].replace("\\040", " ")
            found.append(Mount(point, after.split()[0]))
    return found


def file_system(path: Path) -> str | None:
    """The kind of file system that a path is on; the last mount on the longest point wins."""
    best = None
    for mount in mounts():
        inside = path == Path(mount.point) or Path(mount.point) in path.parents
        if inside and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best.kind if best else None


class Place(Struct, frozen=True):
    """A folder that is there or is to be made."""

    path: Path
    existing: Path
    """Itself, or the nearest folder above it that is there."""
    writable: bool
    kind: str | None
    """Of its file system."""
    free: int | None
    """Bytes that we may still write."""
    uid: int
    """Who we are."""


def place(path: Path) -> Place:
    """Look at a folder without making it."""
    # os.path's says False of what may not be looked at, where Path's raises.
    existing = next((each for each in (path, *path.parents) if os.path.exists(each)), Path("/"))  # noqa: PTH110 - as the line above says
    real = existing.resolve()
    free = None
    with suppress(OSError):
        found = os.statvfs(real)
        free = found.f_bavail * found.f_frsize
    writable = real.is_dir() and os.access(real, os.W_OK | os.X_OK)
    return Place(path, existing, writable, file_system(real), free, os.geteuid())


def barred(path: Path, group: int | None) -> Path | None:
    """The first folder on the way to a file that those of a group (None: all others) may not pass, by its mode."""
    for folder in reversed(path.parents):
        try:
            found = folder.stat()
        except OSError:
            return None  # it is to be made yet
        ours = group is not None and found.st_gid == group and found.st_mode & stat.S_IXGRP
        if not ours and not found.st_mode & stat.S_IXOTH:
            return folder
    return None
