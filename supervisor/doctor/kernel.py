"""Judgements of the kernel: its version, what it really did when tried, and its settings."""

from __future__ import annotations

import re

from supervisor.doctor.finding import Finding, note, ok, problem, unknown

LEAST = (5, 14)
TELLS_EXITS = (6, 15)
"""From this version on PIDFD_GET_INFO tells how a process ended that is not one's own child."""

_LEAST_PROGRAM = 2048
"""Bytes of net.core.optmem_max that the longest steering program takes, with room."""


def version(release: str) -> Finding:
    """`uname -r`, such as 6.1.0-18-amd64."""
    match = re.match(r"(\d+)\.(\d+)", release)
    if match is None:
        return unknown("kernel", f"{release!r} is no version")
    found = (int(match[1]), int(match[2]))
    if found < LEAST:
        return problem(
            "kernel",
            f"Linux {release}, and 5.14 is the least",
            "connections cannot be steered and moved as gapless relies on",
            "boot a kernel of 5.14 or later",
        )
    if found < TELLS_EXITS:
        return note(
            "kernel",
            f"Linux {release}",
            "how a server ended that outlived the gapless which started it stays unknown (6.15 tells)",
        )
    return ok("kernel", f"Linux {release}")


def steering(fault: str | None) -> Finding:
    """The trial of a group with a program."""
    if fault is None:
        return ok("steering", "two sockets on one port, and each connection went to the one that was named")
    cure = {
        "loopback is down": "ip link set lo up",
        "Cannot allocate memory": "sysctl -w net.core.optmem_max=131072",
    }
    return problem(
        "steering",
        f"connections could not be steered: {fault}",
        "no handoff can be made here, and no candidate be probed",
        cure.get(
            fault, "run gapless where classic BPF on SO_REUSEPORT works: on Linux itself, not on an emulation of it"
        ),
    )


def migration(value: int | None) -> Finding:
    """net.ipv4.tcp_migrate_req."""
    check = "tcp_migrate_req"
    if value is None:
        return unknown(check, "net.ipv4.tcp_migrate_req cannot be read", "it is taken for 0")
    if value:
        return ok(check, "net.ipv4.tcp_migrate_req is 1: the queue of a generation that dies is moved")
    return note(
        check,
        "net.ipv4.tcp_migrate_req is 0",
        "what waits in the queue of a generation that dies on probation is reset, counted and logged",
        "echo net.ipv4.tcp_migrate_req=1 >/etc/sysctl.d/60-gapless.conf && sysctl --system",
    )


def backlog(somaxconn: int | None, wanted: int, name: str) -> Finding:
    """net.core.somaxconn against the longest queue that is configured."""
    check = "somaxconn"
    if somaxconn is None:
        return unknown(check, "net.core.somaxconn cannot be read")
    if somaxconn >= wanted:
        return ok(check, f"net.core.somaxconn is {somaxconn}, and {wanted} is the longest backlog")
    return note(
        check,
        f"net.core.somaxconn is {somaxconn}, and {name} has backlog = {wanted}",
        f"only {somaxconn} connections may wait: in a burst more of them stall for a second",
        f"echo net.core.somaxconn={wanted} >>/etc/sysctl.d/60-gapless.conf && sysctl --system",
    )


def program_memory(optmem: int | None) -> Finding:
    """net.core.optmem_max."""
    check = "optmem_max"
    if optmem is None:
        return unknown(check, "net.core.optmem_max cannot be read", "if steering worked when tried, it is enough")
    if optmem >= _LEAST_PROGRAM:
        return ok(check, f"net.core.optmem_max is {optmem}")
    return problem(
        check,
        f"net.core.optmem_max is {optmem}, and a steering program takes up to {_LEAST_PROGRAM}",
        "the kernel refuses to steer, and a handoff is undone",
        "sysctl -w net.core.optmem_max=131072",
    )


def socket_lookup(fault: str | None) -> Finding:
    """The trial of sock_diag(7)."""
    if fault is None:
        return ok("sock_diag", "tells of sockets")
    return note(
        "sock_diag",
        f"does not tell of sockets: {fault}",
        "/proc is read in its place, which is slower where there are many connections, and connections are not counted",
        "modprobe tcp_diag; in a unit with RestrictAddressFamilies=, add AF_NETLINK",
    )
