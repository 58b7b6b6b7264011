"""Judgements of where things are kept, of the clock, and of systemd."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from supervisor.doctor.finding import Finding, note, ok, problem, unknown

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor.linux.host import Place

_LOST_AT_BOOT = frozenset({"tmpfs", "ramfs", "devtmpfs"})
_BY_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "afs", "glusterfs", "lustre"})
_LEAST_FREE = 8 << 20
_LONGEST_SOCKET_PATH = 107
_OURS = 1_700_000_000
"""November 2023: gapless was not there before."""

LEAST_SYSTEMD = 252
STORES_LONGER = 254


def state(place: Place) -> Finding:
    """Where journal, history and lock are, or will be."""
    check, path = "state", place.path
    if not place.writable:
        return _unwritable(check, place, "gapless cannot begin")
    if place.free is not None and place.free < _LEAST_FREE:
        return problem(
            check,
            f"{path}: {place.free >> 10} kB are free",
            "the state cannot be written, and what a restart of gapless needs to know is lost",
            f"free some space in {place.existing}",
        )
    if place.kind in _LOST_AT_BOOT:
        return note(
            check,
            f"{path} is on a {place.kind}",
            "it is gone after a reboot: the history, and the release that a rollback goes back to",
            '[service] state_dir = "/var/lib/gapless/NAME", or any folder on a disk',
        )
    if place.kind in _BY_NETWORK:
        return note(
            check,
            f"{path} is on {place.kind}, a file system behind a network",
            "each handoff waits for it before it commits, and the lock that keeps two supervisors apart may not hold",
            '[service] state_dir = "/var/lib/gapless/NAME", or any folder on a disk of this host',
        )
    return ok(check, f"{path}{_on(place)}")


def runtime(place: Place, longest_file: int) -> Finding:
    """Where sockets are, or will be; `longest_file` is the length of the longest name there, with its slash."""
    check = "runtime folder"
    if len(str(place.path)) + longest_file > _LONGEST_SOCKET_PATH:
        return problem(
            check,
            f"{place.path} is too long for sockets in it",
            "gapless cannot begin",
            "choose a shorter service.name or XDG_RUNTIME_DIR",
        )
    if not place.writable:
        return _unwritable(check, place, "gapless cannot begin: it makes its sockets there")
    if str(place.path).startswith("/tmp/"):  # noqa: S108 - looked at, not used
        return note(
            check,
            f"{place.path}, for there is no XDG_RUNTIME_DIR",
            "what cleans /tmp may take the sockets away under a supervisor that runs",
            "export XDG_RUNTIME_DIR=/run/user/$(id -u), after: loginctl enable-linger",
        )
    return ok(check, f"{place.path}{_on(place)}")


def control(place: Place, barred: Path | None = None) -> Finding:
    """The folder of the control socket; `barred` is one on the way that does not let in those whom the socket does."""
    check = "control socket"
    if not place.writable:
        return _unwritable(check, place, "gapless cannot begin")
    if barred is not None:
        return problem(
            check,
            f"{place.path}: others may not pass through {barred}",
            "whoever is let in by [control] mode and group, and has a role, cannot reach the socket",
            f"chmod o+x {barred}, or name a [control] socket in a folder that they can come to",
        )
    return ok(check, f"{place.path}{_on(place)}")


def clock(now: float) -> Finding:
    """Seconds since 1970, as the host has it."""
    if now >= _OURS:
        return ok("clock", "the time of day is plausible")
    return note(
        "clock",
        f"the time of day is {now:.0f} s after 1970: it is not set",
        "times in the log, the history and `status` are wrong; deadlines are right, they are by another clock",
        "timedatectl set-ntp true",
    )


def systemd(line: str | None, *, booted: bool, unit: str | None) -> Finding:
    """`systemctl --version`, whether it is this host's init, and the unit that we are in (None: in none)."""
    check = "systemd"
    if not booted:
        return note(
            check,
            "is not this host's init",
            "nobody starts gapless again if it dies, or at boot, unless something else does",
        )
    match = re.search(r"\d+", line or "")
    if match is None:
        return unknown(check, "`systemctl --version` does not say which it is")
    found = f"systemd {match[0]}" + (f", and we run in {unit}" if unit else ", and we run in no service of its")
    if int(match[0]) < LEAST_SYSTEMD:
        return problem(
            check,
            f"{found}; {LEAST_SYSTEMD} is the least",
            "systemd/gapless@.service may not do what it promises",
            "use a systemd of 252 or later, or start gapless by other means",
        )
    if int(match[0]) < STORES_LONGER:
        return note(
            check,
            found,
            "a unit of yours cannot use FileDescriptorStorePreserve= and DelegateSubgroup= (254)",
        )
    return ok(check, found)


def store(size: str | None, *, unit: str | None) -> Finding:
    """FDSTORE, by which systemd (254) tells how many file descriptors it would keep for a unit."""
    if unit is None or (size is not None and size != "0"):
        kept = f"systemd keeps up to {size} file descriptors for {unit}" if unit else "of no use outside of a service"
        return ok("descriptor store", kept)
    return note(
        "descriptor store",
        f"{unit} has none, or systemd does not say so (before 254)",
        "systemd keeps no sockets for a gapless that died: they live on in the server alone",
        "in the unit: FileDescriptorStoreMax=512",
    )


def unit_of(path: Path | None) -> str | None:
    """The service that a cgroup belongs to, by its name."""
    if path is None:
        return None
    return next((part for part in reversed(path.parts) if part.endswith(".service")), None)


def _unwritable(check: str, place: Place, follows: str) -> Finding:
    where = f"{place.existing}" if place.existing == place.path else f"{place.path} is not there, and {place.existing}"
    return problem(
        check, f"{where} may not be written to by us", follows, f"as root: install -d -o {place.uid} {place.path}"
    )


def _on(place: Place) -> str:
    return f" on {place.kind}" if place.kind else ""
