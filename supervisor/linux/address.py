"""What every address can tell; an IP address and port as an operator writes them, and the sockets bound to them."""

import errno
import ipaddress
import os
import resource
import socket
from collections.abc import Hashable
from pathlib import Path
from typing import ClassVar, Protocol, Self

from msgspec import Struct
from msgspec.structs import force_setattr, replace

from supervisor.errors import HostError
from supervisor.linux import sockdiag
from supervisor.linux.options import TCP, Options, SockAddr, is_out_of_reach, remarks, set_options

_FORMS = "write 127.0.0.1:8080, [::1]:8080, or :8080 for all addresses"
_UNPRIVILEGED_START = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_LONGEST_NAME = 255
_LAST_PORT = 65535

Socket = socket.socket


class Address(Protocol):
    """Where a listener listens, with all that is configured for it."""

    @property
    def name(self) -> str:
        """What the server finds in LISTEN_FDNAMES."""

    @property
    def identity(self) -> Hashable:
        """What two configurations have in common that mean the same listener, whatever name and options it has."""

    @property
    def mode(self) -> str:
        """`shared`: one socket for all generations; `reuseport`: one for each."""

    @property
    def endpoint(self) -> tuple[str, int] | None:
        """The IP address and the port, if it has them."""

    @property
    def fixed(self) -> bool:
        """Whether it is known beforehand, and not left to the kernel."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What an operator should know of it before using it, a sentence each."""

    def __str__(self) -> str:
        """The canonical form, which can be read again."""


class InetAddress(Struct, frozen=True, kw_only=True):
    """Where a listener listens. `host` is an IP literal; `::` takes IPv4 too unless `v6only` is True.

    `v6only` None means "not said": dual-stack for `::`, whatever net.ipv6.bindv6only is on this host, so that one
    configuration means the same everywhere.
    """

    scheme: ClassVar[str]
    kind: ClassVar[socket.SocketKind]
    protocol: ClassVar[int]
    takes: ClassVar[frozenset[str]]

    name: str
    host: str
    port: int
    v6only: bool | None = None
    options: Options = ()

    def __post_init__(self) -> None:
        """Put the host into canonical form; raise ValueError for what cannot be listened on."""
        force_setattr(self, "host", _literal(self.host))
        if not 0 <= self.port <= _LAST_PORT:
            raise ValueError(f"port {self.port} is out of range: want 1 to {_LAST_PORT}, or 0 to let the kernel choose")
        if self.v6only and self.family == socket.AF_INET:
            raise ValueError(f"v6only means nothing for the IPv4 address {self.host}: use it with an address like [::]")
        for key in (key for key, _ in self.options if key not in self.takes):
            raise ValueError(f"{key} means nothing for {self}: want one of {', '.join(sorted(self.takes))}")
        # LISTEN_FDNAMES joins the names with colons, and systemd takes 255 printable ASCII characters.
        if not (self.name.isascii() and self.name.isprintable() and 0 < len(self.name) <= _LONGEST_NAME):
            raise ValueError(f"name {self.name!r} will not do: 1 to {_LONGEST_NAME} printable ASCII characters")
        if ":" in self.name:
            raise ValueError(f"name {self.name!r} has a colon, which separates the names in LISTEN_FDNAMES")

    def __str__(self) -> str:
        """Give the canonical form, which parse() reads again."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}{host}:{self.port}"

    @property
    def family(self) -> socket.AddressFamily:
        """Tell the family of the listening socket; a dual-stack one is AF_INET6."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def dual_stack(self) -> bool:
        """Tell whether one socket takes both IPv6 and IPv4."""
        return self.host == "::" and not self.v6only

    @property
    def sockaddr(self) -> SockAddr:
        """Give what bind() and connect() take; raise OSError when a scope (`fe80::1%eth0`) names no interface."""
        if self.family == socket.AF_INET:
            return self.host, self.port
        host, _, scope = self.host.partition("%")
        return host, self.port, 0, (_scope_id(scope) if scope else 0)

    def loopback_source(self) -> str:
        """Tell from which local address a probe connects to this one, which is also the address that it connects to.

        A dual-stack listener is probed over IPv4: `::1` is missing where net.ipv6.conf.lo.disable_ipv6 is set.
        """
        if self.host == sockdiag.ANY_V4 or self.dual_stack:
            return "127.0.0.1"
        return "::1" if self.host == "::" else self.host

    def bind(self, *, first: bool) -> Socket:
        """Bind a socket that does not listen yet, close-on-exec and blocking, with SO_REUSEPORT set.

        The first one of a group is bound before that option is set, so that an address in use is refused rather than
        shared with whoever has it (socket(7)): SO_REUSEPORT admits every process of the same user. For TCP SO_REUSEADDR
        lets TIME_WAIT leftovers pass; UDP has none, and there it would admit others. Raises HostError.
        """
        try:
            sock = socket.socket(self.family, self.kind)
        except OSError as error:
            raise self.refusal(error) from error
        try:
            sock.settimeout(None)  # children share its file description, and expect it to block
            set_options(sock, self.options, str(self))
            if self.kind is socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self.family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(bool(self.v6only)))
            if not first:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(self.sockaddr)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        except HostError:
            sock.close()
            raise
        except OSError as error:
            sock.close()
            raise self.refusal(error) from error
        return sock

    def option(self, key: str) -> str | int | None:
        """Give the value of an option; None where it is not set."""
        return dict(self.options).get(key)

    @property
    def within_reach(self) -> bool:
        """Tell whether a connection made on this host can arrive here."""
        return not is_out_of_reach(self.on_port(0).sockaddr, self.options)

    @property
    def identity(self) -> Hashable:
        """Tell what two configurations have in common that mean the same listener, whatever name and options it has.

        Those whose port is left to the kernel are told apart by their names.
        """
        return self.protocol, self.host, self.port or self.name, self.v6only, self.option("device")

    @property
    def mode(self) -> str:
        """Each generation has a socket of its own."""
        return "reuseport"

    @property
    def endpoint(self) -> tuple[str, int] | None:
        """Give the IP address and the port."""
        return self.host, self.port

    @property
    def fixed(self) -> bool:
        """Tell whether the port is known beforehand."""
        return self.port != 0

    @property
    def remarks(self) -> tuple[str, ...]:
        """Tell what follows from its options, a sentence each."""
        return remarks(str(self), self.on_port(0).sockaddr, self.options)

    def alike(self, other: Self) -> bool:
        """Tell whether a socket made for one does for the other, which may have another name."""
        return replace(self, name=other.name) == other

    def on_port(self, port: int) -> Self:
        """Give this address with the real port, which port 0 left to the kernel."""
        return self if port == self.port else replace(self, port=port)

    def refusal(self, error: OSError) -> HostError:
        """Say in one sentence why the host did not let us bind or listen here."""
        match error.errno:
            case errno.EADDRINUSE:
                return HostError(self._in_use())
            case errno.EACCES if 0 < self.port < _first_unprivileged():
                first = _first_unprivileged()
                return HostError(
                    f"{self} may not be bound: ports below {first} need CAP_NET_BIND_SERVICE. Start gapless as root or "
                    "with that (AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit, or setpriv --ambient-caps), or "
                    f"set net.ipv4.ip_unprivileged_port_start to {self.port}"
                )
            case errno.EADDRNOTAVAIL | errno.ENODEV | errno.ENXIO:
                return HostError(f"{self} cannot be bound: this host has no address {self.host}")
            case errno.EAFNOSUPPORT if self.family == socket.AF_INET6:
                return HostError(f"{self} cannot be bound: IPv6 is off on this host, write 0.0.0.0 for all of IPv4")
            case errno.EMFILE:
                limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
                return HostError(f"{self} got no socket: all {limit} file descriptors are in use (LimitNOFILE)")
            case _:
                return HostError(f"{self} cannot be listened on: {os.strerror(error.errno or 0)}")

    def _in_use(self) -> str:
        if self.port == 0:
            return f"{self} got no port: all ports of the range net.ipv4.ip_local_port_range are in use"
        host = self.host.partition("%")[0]
        holder = sockdiag.holder(host, self.port, v6only=bool(self.v6only), protocol=self.protocol)
        whose = f" by {holder.owner()}" if holder else ""
        return f"{self} is in use{whose}: free it, or listen on another address"


class TcpAddress(InetAddress, frozen=True, kw_only=True):
    """Where a TCP listener listens. `backlog` is in connections; the kernel caps it at net.core.somaxconn."""

    scheme: ClassVar[str] = ""
    kind: ClassVar[socket.SocketKind] = socket.SOCK_STREAM
    protocol: ClassVar[int] = socket.IPPROTO_TCP
    takes: ClassVar[frozenset[str]] = TCP

    backlog: int = 4096

    def __post_init__(self) -> None:
        """Put the host into canonical form; raise ValueError for what cannot be listened on."""
        InetAddress.__post_init__(self)
        if self.backlog < 1:
            raise ValueError(f"backlog {self.backlog} is too small: at least 1 connection")

    @classmethod
    def parse(
        cls,
        text: str,
        *,
        name: str | None = None,
        backlog: int = 4096,
        v6only: bool | None = None,
        options: Options = (),
    ) -> Self:
        """Read `host:port`, `[v6]:port`, `:port` or `*:port`; raise ValueError saying what would do.

        Without a name it is called after its port, `tcp-8080`. Host names are refused, `localhost` apart: what a
        resolver answers may change between two handoffs, and a listener's address may not.
        """
        host, port = split(text)
        name = f"tcp-{port}" if name is None else name
        return cls(name=name, host=host, port=port, backlog=backlog, v6only=v6only, options=options)


def split(text: str) -> tuple[str, int]:
    """Read host and port of `host:port`, `[v6]:port`, `:port` or `*:port`; raise ValueError saying what would do."""
    host, colon, digits = text.strip().rpartition(":")
    if not colon:
        raise ValueError(f"{text!r} has no port: {_FORMS}")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= len(str(_LAST_PORT))):
        raise ValueError(f"{text!r} does not end in a port number: {_FORMS}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise ValueError(f"{text!r} has brackets around what is no IPv6 address: {_FORMS}")
    elif ":" in host:
        raise ValueError(f"{text!r} needs brackets around an IPv6 address: {_FORMS}")
    return "::" if host in ("", "*") else host, int(digits)


def _literal(host: str) -> str:
    """Canonicalise an IP literal; raise ValueError for anything else but localhost."""
    if host == "localhost":
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{host!r} is not an IP address (host names are not looked up): {_FORMS}") from None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _scope_id(scope: str) -> int:
    return int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)


def _first_unprivileged() -> int:
    try:
        return int(_UNPRIVILEGED_START.read_text())
    except OSError:
        return 1024
