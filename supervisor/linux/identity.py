"""As whom a server runs: user, groups and capabilities, changed in one step by setpriv(1) of util-linux.

In one step, because each alone would be in the way of another: a process that is no longer root cannot give itself
capabilities, and the kernel takes the ambient ones away from a process that stops being root (capabilities(7)). What
the kernel would refuse is found out beforehand, since a refusal of setpriv's would come after the process is let go.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from supervisor.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SETPRIV: Final = "/usr/bin/setpriv"

CAPABILITIES: Final = (
    *("chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap"),
    *("linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner"),
    *("sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice"),
    *("sys_resource", "sys_time", "sys_tty_config", "mknod", "lease", "audit_write", "audit_control", "setfcap"),
    *("mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf"),
    "checkpoint_restore",
)
"""capabilities(7), small and without the prefix; the place of each is its number (linux/capability.h)."""


class Identity(Struct, frozen=True, kw_only=True):
    """As whom to run; None leaves what gapless itself has."""

    user: int | None = None
    group: int | None = None
    groups: Sequence[int] | None = None
    """The supplementary ones."""
    capabilities: Sequence[str] | None = None
    """All that it has: as ambient ones, and for root, who would get every one of them again, as a bound."""


_UNCHANGED = Identity()


class _Own(Struct, frozen=True):
    """What this process may do: sets of capabilities, as bits."""

    uid: int
    permitted: int
    bounding: int
    ambient: int

    @property
    def kept(self) -> int:
        """What is still there after an exec of ours: all for root, for others what is ambient."""
        return self.permitted & self.bounding if self.uid == 0 else self.ambient


def words(identity: Identity) -> list[str]:
    """What is to stand before a command's words, so that it runs as that identity; nothing if it does already.

    Raises HostError if gapless may not make it so.
    """
    if identity == _UNCHANGED:
        return []
    own = _own()
    changes = _changes_user(identity, own)
    options = [*_user_options(identity, own)] if changes else []
    options += _capability_options(identity, own)
    if not options:
        return []
    if not os.access(SETPRIV, os.X_OK):
        raise HostError(f"{SETPRIV} is not there, and user, groups and capabilities are set by it: install util-linux")
    return [SETPRIV, *options, "--"]


def _changes_user(identity: Identity, own: _Own) -> bool:
    primary = os.getegid()
    if identity.user not in {None, own.uid} or identity.group not in {None, primary}:
        return True
    return identity.groups is not None and {*identity.groups, primary} != {*os.getgroups(), primary}


def _user_options(identity: Identity, own: _Own) -> Iterable[str]:
    needed = _bit("setgid") | (_bit("setuid") if identity.user not in {None, own.uid} else 0)
    if needed & ~own.kept:
        raise HostError(
            "only root may become another user or change its groups, and gapless is not root: "
            "start it as root, or leave user, group and groups out of [service]"
        )
    if identity.user is not None:
        yield f"--reuid={identity.user}"
    if identity.group is not None:
        yield f"--regid={identity.group}"
    if identity.groups is None:
        yield "--keep-groups"
    else:
        yield f"--groups={','.join(map(str, identity.groups))}" if identity.groups else "--clear-groups"


def _capability_options(identity: Identity, own: _Own) -> list[str]:
    uid = own.uid if identity.user is None else identity.user
    if identity.capabilities is not None:
        wanted = sum({_bit(name) for name in identity.capabilities})
    elif uid not in {own.uid, 0} and own.ambient:
        wanted = own.ambient  # the kernel would take them away with the change of user
    else:
        return []
    missing = [name for name in CAPABILITIES if wanted & ~own.kept & _bit(name)]
    if missing:
        raise HostError(_lacking(missing))
    # By number: an older libcap-ng does not know the newer names.
    chosen = ",".join(["-all", *(f"+cap_{number}" for number in range(wanted.bit_length()) if wanted >> number & 1)])
    options = [f"--inh-caps={chosen}", f"--ambient-caps={chosen}"]
    if uid == 0 and own.bounding != wanted:
        if not own.kept & _bit("setpcap"):
            raise HostError(_lacking(["setpcap"]))
        options.append(f"--bounding-set={chosen}")
    return options


def _lacking(names: Sequence[str]) -> str:
    full = " ".join(f"CAP_{name.upper()}" for name in names)
    return (
        f"the capabilities cannot be set as they are to be: gapless itself has no {full}. Start it as root, or in a "
        f"unit with AmbientCapabilities={full}, or leave it out of service.capabilities"
    )


def _bit(name: str) -> int:
    return 1 << CAPABILITIES.index(name)


def _own() -> _Own:
    found = _status()
    return _Own(os.geteuid(), found["CapPrm"], found["CapBnd"], found["CapAmb"])


def _status() -> dict[str, int]:
    """proc_pid_status(5): the masks are hexadecimal."""
    pairs = (line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines())
    return {pair[0]: int(pair[1], 16) for pair in pairs if pair[0].startswith("Cap")}
