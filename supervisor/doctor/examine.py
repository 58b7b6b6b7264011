"""Looks everything up, each thing by itself: one that cannot be looked at hides no other."""

from __future__ import annotations

import os
import resource
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor.doctor import kernel, network, places, rights
from supervisor.doctor.finding import unknown
from supervisor.errors import HostError
from supervisor.linux import delegation, host, trials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from supervisor.doctor.finding import Finding
    from supervisor.doctor.needs import Needs

_CAP_NET_BIND_SERVICE = 10
"""capabilities(7)"""


def examine(needs: Needs, serving: Mapping[str, int], longest_file: int) -> Iterator[Finding]:
    """Every finding, in the order of the table in docs/operating.md. Changes nothing on this host.

    `serving` is the memory, in bytes, of the generation that serves, by service that runs; `longest_file` is the length
    of the longest name in the runtime folder.
    """
    for name, look in {
        **_of_the_kernel(needs),
        **_of_addresses(needs),
        **_of_rights(needs, serving),
        **_of_places(needs, longest_file),
    }.items():
        try:
            yield look()
        except (OSError, ValueError, HostError) as odd:
            yield unknown(name, str(odd))


def _of_the_kernel(needs: Needs) -> dict[str, Callable[[], Finding]]:
    longest = max(needs.listeners, key=lambda each: each.backlog, default=None)
    backlog, whose = (longest.backlog, longest.name) if longest else (4096, "a listener that says nothing else")
    return {
        "kernel": lambda: kernel.version(os.uname().release),
        "steering": lambda: kernel.steering(trials.steering()),
        "tcp_migrate_req": lambda: kernel.migration(host.number("net.ipv4.tcp_migrate_req")),
        "somaxconn": lambda: kernel.backlog(host.number("net.core.somaxconn"), backlog, whose),
        "optmem_max": lambda: kernel.program_memory(host.number("net.core.optmem_max")),
        "sock_diag": lambda: kernel.socket_lookup(trials.socket_lookup()),
    }


def _of_addresses(needs: Needs) -> dict[str, Callable[[], Finding]]:
    first = "net.ipv4.ip_unprivileged_port_start"
    off = "net.ipv6.conf.all.disable_ipv6"
    return {
        "addresses": lambda: network.addresses(needs.listeners, _faults(needs)),
        "ipv6": lambda: network.ipv6(needs.listeners, there=_has_ipv6(), disabled=host.number(off)),
        "low ports": lambda: network.privileged(
            needs.listeners, host.number(first), may=host.capable(_CAP_NET_BIND_SERVICE)
        ),
        "outgoing ports": lambda: network.outgoing(needs.listeners, host.port_range(), host.reserved_ports()),
    }


def _of_rights(needs: Needs, serving: Mapping[str, int]) -> dict[str, Callable[[], Finding]]:
    user = os.geteuid() if needs.user is None else needs.user
    return {
        "open files": lambda: rights.files(*host.limit(resource.RLIMIT_NOFILE), needs),
        "processes": lambda: rights.tasks(host.limit(resource.RLIMIT_NPROC)[0], host.tasks_of(user), user),
        "memory": lambda: rights.memory(host.memory_available(), serving),
        "taking sockets back": lambda: rights.taking_back(
            trials.taking_back(orphaned=False),
            trials.taking_back(orphaned=True),
            host.number("kernel.yama.ptrace_scope"),
        ),
        "cgroup": lambda: rights.cgroup(host.cgroup(), delegation.fault(host.cgroup())),
        "programs": lambda: rights.programs(
            [name for name in rights.PROGRAMS if not os.access(name, os.X_OK)], limits=needs.limits
        ),
        "python": lambda: rights.python(sys.version_info[:2]),
    }


def _of_places(needs: Needs, longest_file: int) -> dict[str, Callable[[], Finding]]:
    unit = places.unit_of(host.cgroup())
    control = needs.control
    return {
        "state": lambda: places.state(host.place(needs.state)),
        "runtime folder": lambda: places.runtime(host.place(needs.runtime), longest_file),
        **({} if control is None else {"control socket": lambda: _of_control(control, needs.lets_in)}),
        "clock": lambda: places.clock(time.time()),
        "systemd": lambda: places.systemd(
            trials.version_of(["systemctl", "--version"]), booted=Path("/run/systemd/system").is_dir(), unit=unit
        ),
        "descriptor store": lambda: places.store(os.environ.get("FDSTORE"), unit=unit),
    }


def _of_control(path: Path, lets_in: Sequence[int | None]) -> Finding:
    barred = (host.barred(path, group) for group in lets_in)
    return places.control(host.place(path.parent), next(filter(None, barred), None))


def _faults(needs: Needs) -> dict[str, str]:
    tried = {each.host: trials.bindable(each.host) for each in needs.listeners}
    return {address: fault for address, fault in tried.items() if fault is not None}


def _has_ipv6() -> bool:
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True
