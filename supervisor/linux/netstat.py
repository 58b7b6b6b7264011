"""What the kernel counts of listening sockets, for all of this network namespace together."""

from __future__ import annotations

from pathlib import Path

_TABLE = Path("/proc/net/netstat")
_EXTENSIONS = "TcpExt:"
_COUNTED = frozenset(
    {"ListenOverflows", "ListenDrops", "TCPReqQFullDrop", "TCPMigrateReqSuccess", "TCPMigrateReqFailure"}
)


def listening() -> dict[str, int] | None:
    """The counters by the kernel's own names, as many of them as it has; None where they cannot be read.

    They are those of TcpExt in /proc/net/netstat (net/ipv4/proc.c): a line of names, and a line of values below it.
    ListenOverflows counts what found a full accept queue, which is among ListenDrops too, TCPReqQFullDrop what found
    too many handshakes under way, and TCPMigrateReq* what a leaving socket's queue lost to the others of its group.
    """
    try:
        lines = [line.split() for line in _TABLE.read_text().splitlines() if line.startswith(_EXTENSIONS)]
        names, values = lines
        return {name: int(value) for name, value in zip(names, values, strict=True) if name in _COUNTED}
    except (OSError, ValueError):
        return None


def since(before: dict[str, int] | None) -> dict[str, int] | None:
    """How far they have gone on from there."""
    now = listening()
    if before is None or now is None:
        return None
    return {name: value - before.get(name, 0) for name, value in now.items()}
