"""Whether a file may be started by whom it is to run as, and which rights that start gives or takes away."""

from __future__ import annotations

import os
import stat
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from supervisor.linux.identity import CAPABILITIES
from supervisor.releases.preflight.finding import blocks, says, warns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.releases.preflight.finding import Finding
    from supervisor.releases.preflight.surroundings import Surroundings

_EFFECTIVE = 1
_WORDS = struct.Struct("<IIIII")
"""linux/capability.h, struct vfs_cap_data, second and third revision: flags, permitted and inheritable, twice."""
_ACL = "system.posix_acl_access"


class Rights(Struct, frozen=True, kw_only=True):
    """What a file gives to who starts it."""

    set_id: bool = False
    """It has the set-user-ID or the set-group-ID bit."""
    permitted: int = 0
    """Capabilities, as bits."""
    effective: bool = False
    """The kernel gives all of them, or refuses to start it."""

    @property
    def any(self) -> bool:
        """Whether its start changes rights: then the loader heeds no LD_LIBRARY_PATH, and ambient ones are lost."""
        return self.set_id or bool(self.permitted)


class Bounds(Struct, frozen=True, kw_only=True):
    """What we hand on to all that we start."""

    no_new_privileges: bool = False
    bounding: int = -1
    """Capabilities beyond which nothing goes."""
    no_set_id: bool = False
    """The file system is mounted so that no file gives rights (nosuid)."""


def rights_of(path: str) -> Rights:
    """What a file gives. Raises OSError."""
    mode = Path(path).stat().st_mode
    text = b""
    with suppress(OSError):  # it has none, or its file system knows none
        text = os.getxattr(path, "security.capability")
    set_id = bool(mode & stat.S_ISUID) or mode & (stat.S_ISGID | stat.S_IXGRP) == stat.S_ISGID | stat.S_IXGRP
    if len(text) < _WORDS.size:
        return Rights(set_id=set_id)
    flags, low, _, high, _ = _WORDS.unpack_from(text)
    return Rights(set_id=set_id, permitted=low | high << 32, effective=bool(flags & _EFFECTIVE))


def bounds_for(path: str) -> Bounds:
    """What holds here for a file. Raises OSError."""
    pairs = (line.partition(":") for line in Path("/proc/self/status").read_text().splitlines())
    status = {name: value.strip() for name, _, value in pairs}
    return Bounds(
        no_new_privileges=status.get("NoNewPrivs") == "1",
        bounding=int(status.get("CapBnd", "0"), 16),
        no_set_id=bool(os.statvfs(path).f_flag & os.ST_NOSUID),
    )


def gains(rights: Rights, bounds: Bounds, capabilities: tuple[str, ...] | None) -> Iterator[Finding]:
    """What becomes of the rights that a file gives (capabilities(7), "Transformation of capabilities")."""
    if not rights.any:
        return
    check, what = "rights", _named(rights)
    outside = rights.permitted & ~bounds.bounding
    if bounds.no_set_id or bounds.no_new_privileges:
        why = "its file system is mounted nosuid" if bounds.no_set_id else "gapless runs with no_new_privs"
        do = "give them by service.capabilities" if rights.permitted else "start it as service.user"
        yield warns(check, f"it has {what}, which count for nothing: {why}", do)
    elif rights.effective and outside:
        yield blocks(
            check,
            f"the kernel will not start it: it has {what}, and {_names(outside)} is out of bounds here",
            "take that away (setcap -r), or give gapless the capability (CapabilityBoundingSet= in the unit)",
        )
    else:
        yield says(check, f"it has {what}: it gains them when it starts, and the loader heeds no LD_LIBRARY_PATH")
    if capabilities:
        yield warns(
            check,
            f"it has {what}, and so the kernel takes away what service.capabilities gives",
            "take the file's away (setcap -r, chmod ug-s)",
        )


def may_start(path: str, surroundings: Surroundings) -> Iterator[Finding]:
    """Whether mode bits and mounts let it be started."""
    check = "permission"
    if os.statvfs(path).f_flag & os.ST_NOEXEC:
        yield blocks(check, f"{path} is on a file system that is mounted noexec", "put it elsewhere, or remount that")
    if not Path(path).stat().st_mode & 0o111:
        yield blocks(check, f"{path} is not executable", f"chmod +x {path}")
    elif (refusing := _refusing(path, surroundings)) is not None:
        do = f"chmod a+{'rx' if refusing == path else 'x'} {refusing}, or give it to that user"
        yield blocks(check, f"user {surroundings.uid}, as whom it is to run, may not pass {refusing}", do)


def _refusing(path: str, surroundings: Surroundings) -> str | None:
    """What on the way is closed to that user by its mode bits; None where a list of its own (acl(5)) may say more."""
    if surroundings.uid == 0:
        return None
    for each in (*reversed(Path(path).parents), Path(path)):
        found = each.stat()
        shift = 6 if found.st_uid == surroundings.uid else 3 if found.st_gid in surroundings.groups else 0
        if not found.st_mode >> shift & 1 and _ACL not in _attributes(each):
            return str(each)
    return None


def _attributes(path: Path) -> list[str]:
    try:
        return os.listxattr(path)
    except OSError:
        return []


def _named(rights: Rights) -> str:
    parts = ["a set-ID bit"] if rights.set_id else []
    parts += [f"file capabilities ({_names(rights.permitted)})"] if rights.permitted else []
    return " and ".join(parts)


def _names(bits: int) -> str:
    return ", ".join(f"cap_{name}" for number, name in enumerate(CAPABILITIES) if bits >> number & 1)
