"""What a child is told: the variables and words by which it finds its sockets, in every dialect that was asked for.

Always sd_listen_fds(3)'s (the held process adds LISTEN_PID) and ours. On request those of einhorn
(https://github.com/contribsys/einhorn, `lib/einhorn/command.rb`) and of Server::Starter (Perl), which an app may
react to in ways of its own: hence only on request.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec import Struct

from supervisor.linux.template import filled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from supervisor.core.launch import Launch

FIRST_FD = 3

EINHORN, SERVER_STARTER = "einhorn", "server-starter"
"""The dialects."""


class Handed(Struct, frozen=True, kw_only=True):
    """A listener as one child has it."""

    name: str
    fd: int
    address: str
    """The one that it really has."""
    configured: str
    """As the operator wrote it."""

    @property
    def port(self) -> str:
        """What is behind the last colon; empty for a Unix socket, which has none."""
        return "" if self.address.startswith("unix:") else self.address.rpartition(":")[2]


class Run(Struct, frozen=True, kw_only=True):
    """Which run of what is told."""

    service: str
    generation: int
    release: str
    index: int
    """The smallest number that no other living child has."""
    notify_path: Path
    ack_path: Path | None
    watchdog: float | None = None
    """Seconds within which it is to send WATCHDOG=1 (the held process adds WATCHDOG_PID); None: it is not watched."""


def handed(launch: Launch, names: Sequence[str], addresses: Sequence[str]) -> list[Handed]:
    """The listeners of a set, in its order."""
    written = {each.name: each.address for each in launch.listen}
    return [
        Handed(name=name, fd=FIRST_FD + at, address=address, configured=written.get(name, address))
        for at, (name, address) in enumerate(zip(names, addresses, strict=True))
    ]


def environment(run: Run, sockets: Sequence[Handed], dialects: Sequence[str]) -> dict[str, str]:
    """All the variables that gapless sets."""
    told = {
        "LISTEN_FD": str(FIRST_FD),
        "LISTEN_FDS": str(len(sockets)),
        "LISTEN_FDNAMES": ":".join(each.name for each in sockets),
        "READY_FD": str(FIRST_FD + len(sockets)),
        "NOTIFY_SOCKET": str(run.notify_path),
        "GAPLESS_SERVICE": run.service,
        "GAPLESS_GENERATION": str(run.generation),
        "GAPLESS_RELEASE": run.release,
    }
    if run.watchdog is not None:
        told["WATCHDOG_USEC"] = str(max(1, round(run.watchdog * 1e6)))
    if EINHORN in dialects:
        told |= _einhorn(run, sockets)
    if SERVER_STARTER in dialects:
        told |= _server_starter(run, sockets)
    return told


def command(argv: Sequence[str], sockets: Sequence[Handed]) -> list[str]:
    """The words of a command, told what this child has."""
    return filled(
        argv, {(kind, each.name): str(getattr(each, kind)) for each in sockets for kind in ("fd", "port", "address")}
    )


def _einhorn(run: Run, sockets: Sequence[Handed]) -> Mapping[str, str]:
    """EINHORN_MASTER_PID has to be the child's getppid(): the held process becomes the server by exec, so it is."""
    fds = [str(each.fd) for each in sockets]
    return {
        "EINHORN_FD_COUNT": str(len(fds)),
        **{f"EINHORN_FD_{number}": fd for number, fd in enumerate(fds)},
        "EINHORN_FDS": " ".join(fds),
        "EINHORN_MASTER_PID": str(os.getpid()),
        "EINHORN_CHILD_INDEX": str(run.index),
        **({} if run.ack_path is None else {"EINHORN_SOCK_PATH": str(run.ack_path)}),
    }


def _server_starter(run: Run, sockets: Sequence[Handed]) -> Mapping[str, str]:
    return {
        "SERVER_STARTER_PORT": ";".join(f"{_key(each)}={each.fd}" for each in sockets),
        "SERVER_STARTER_GENERATION": str(run.generation),
    }


def _key(socket: Handed) -> str:
    """How Server::Starter would call it: apps look it up by what they expect, as text.

    That is the host as it was written, with the port that it has; the port alone if there was no host; a path.
    """
    written = socket.configured.removeprefix("udp://")
    if written.startswith("unix:"):
        return written.removeprefix("unix:")
    host = written.strip().rpartition(":")[0]
    return socket.port if host in {"", "*"} else f"{host}:{socket.port}"
