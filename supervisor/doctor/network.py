"""Judgements of the addresses that are configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.doctor.finding import Finding, note, ok, problem, unknown

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from supervisor.doctor.needs import Listening


def privileged(listeners: Sequence[Listening], first: int | None, *, may: bool | None) -> Finding:
    """net.ipv4.ip_unprivileged_port_start, and whether we have CAP_NET_BIND_SERVICE."""
    check = "low ports"
    if first is None or may is None:
        return unknown(check, "/proc does not tell which ports are for root alone")
    low = [each for each in listeners if 0 < each.port < first]
    if may or not low:
        return ok(check, "any may be bound" if may else f"from {first} on ports may be bound")
    return problem(
        check,
        f"below {first}: {_listed(low)}; and we have no CAP_NET_BIND_SERVICE",
        "gapless cannot begin: what is below may not be bound by us",
        f"sysctl -w net.ipv4.ip_unprivileged_port_start={min(each.port for each in low)}; "
        "in a unit: AmbientCapabilities=CAP_NET_BIND_SERVICE",
    )


def outgoing(listeners: Sequence[Listening], ports: tuple[int, int] | None, reserved: Collection[int]) -> Finding:
    """net.ipv4.ip_local_port_range, less net.ipv4.ip_local_reserved_ports."""
    check = "outgoing ports"
    if ports is None:
        return unknown(check, "net.ipv4.ip_local_port_range cannot be read")
    first, last = ports
    within = [each for each in listeners if first <= each.port <= last and each.port not in reserved]
    if not within:
        return ok(check, f"{first} to {last}, apart from what is listened on")
    wanted = ",".join(str(each) for each in sorted({*reserved, *(each.port for each in within)}))
    return note(
        check,
        f"within {first} to {last}, from which outgoing connections get theirs: {_listed(within)}",
        "while gapless is down one of them may take the port, and gapless cannot begin until that is closed",
        f"sysctl -w net.ipv4.ip_local_reserved_ports={wanted}",
    )


def addresses(listeners: Sequence[Listening], faults: Mapping[str, str]) -> Finding:
    """Whether this host has them; `faults` is by host what stood in the way of binding there."""
    wrong = [each for each in listeners if each.host in faults]
    if not wrong:
        return ok("addresses", _listed(listeners) if listeners else "none is configured")
    return problem(
        "addresses",
        "; ".join(f"{each.name}: {faults[each.host]}" for each in wrong),
        "gapless cannot begin",
        "configure an address that `ip address` shows, or bring its interface up first (After=network-online.target)",
    )


def ipv6(listeners: Sequence[Listening], *, there: bool, disabled: int | None) -> Finding:
    """Whether the kernel speaks it, and net.ipv6.conf.all.disable_ipv6."""
    wanting = [each for each in listeners if ":" in each.host]
    if not wanting:
        return ok("ipv6", "no listener wants it")
    if there and not disabled:
        return ok("ipv6", f"is on, for {_listed(wanting)}")
    if not there:
        return problem(
            "ipv6",
            f"is not in this kernel, and wanted by {_listed(wanting)}",
            "gapless cannot begin",
            'address = "0.0.0.0:PORT" for all of IPv4, or boot without ipv6.disable=1',
        )
    return note(
        "ipv6",
        f"is off (net.ipv6.conf.all.disable_ipv6 is 1), and wanted by {_listed(wanting)}",
        "no client comes by IPv6",
        "sysctl -w net.ipv6.conf.all.disable_ipv6=0",
    )


def _listed(listeners: Sequence[Listening]) -> str:
    return ", ".join(
        f"{each.name} {f'[{each.host}]' if ':' in each.host else each.host}:{each.port}" for each in listeners
    )
