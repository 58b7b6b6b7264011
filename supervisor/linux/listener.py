"""What every kind of listener can do, and which kind an address asks for.

A listener outlives every process. Each generation has a socket of it (its *member*, by the number of its socket set),
and exactly one member is steered to.
"""

from collections.abc import Callable, Container, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from supervisor.errors import HostError
from supervisor.linux.address import Address, Socket, TcpAddress
from supervisor.linux.group import Group
from supervisor.linux.handed import Handed, take_over
from supervisor.linux.handed_shared import HandedListener
from supervisor.linux.past import Entry, Past
from supervisor.linux.shared import SharedAddress, SharedListener
from supervisor.linux.tcp import TcpListener
from supervisor.linux.udp import SCHEME, UdpAddress, UdpListener
from supervisor.linux.unix import UnixListener
from supervisor.linux.unix_address import KEYS, PREFIX, UnixAddress


class Listener(Protocol):
    """One address and its sockets."""

    @property
    def address(self) -> Address:
        """As it was configured last."""

    def __str__(self) -> str:
        """The address that it really has."""

    @property
    def members(self) -> tuple[int, ...]:
        """Its members, in the order of their numbers."""

    @property
    def target(self) -> int | None:
        """Who gets the next connection, as last steered."""

    def socket(self, member: int) -> Socket:
        """The member's socket, which stays ours. KeyError when it is no member."""

    def inode(self, member: int) -> int:
        """The inode of the member's socket, as /proc/PID/fd shows it."""

    def written(self) -> tuple[Entry, ...]:
        """Its sockets, for a later supervisor; in the order of their indexes where they have any."""

    def prepare(self, address: Any) -> Socket | None:  # noqa: ANN401 - an Address of the listener's own kind
        """Have the socket there with which the next member enters, taking no part; None: by this kind it cannot be had.

        `address` is how it is configured. Raises HostError.
        """

    def enter(self, member: int, address: Any = None) -> None:  # noqa: ANN401 - an Address of the listener's own kind
        """Let a new socket listen; users do not reach it until it is steered to. Raises HostError."""

    def withdraw(self, member: int) -> None:
        """Undo `enter` for a member that no process knows of."""

    def steer(self, member: int) -> None:
        """Send the next connections to that member; raise HostError, and change nothing, when refused."""

    def plan(self, member: int) -> Callable[[], None]:
        """Work out beforehand what steering takes; the result does it, as quickly as it can be done."""

    def revive(self, member: int) -> bool:
        """Have a member listen again whose last server has shut its socket down; whether that was so. HostError."""

    def mend(self) -> str:
        """Put right what a server has done to what is not its own; tell what was wrong. Raises HostError."""

    def may_leave(self, member: int, unready: Container[int]) -> bool:
        """Whether the member may leave now with nobody lost who waits in its queue."""

    def leave(self, member: int, unready: Container[int] | None = None) -> None:
        """Take the member out for every process that holds its socket, and close our copy. Raises HostError."""

    def drop_spares(self) -> None:
        """Take out sockets that are there only to keep indexes right."""

    def queue(self, member: int) -> int:
        """How many connections wait to be accepted by the member; of datagrams, whether any waits."""

    def reset_queue(self, member: int, limit: int) -> list[int]:
        """Lose up to `limit` of what waits for a member whose process is dead; tell the clients' ports."""

    @property
    def probes(self) -> bool:
        """Whether a connection of ours can be sent to one member alone."""

    def reach(self, member: int) -> Socket:
        """Begin a connection of our own to that member alone, non-blocking. Raises OSError or HostError."""

    def has_accepted(self, connection: Socket, owns: Callable[[int], bool]) -> bool | None:
        """Whether the server has accepted what `reach` began; None: it cannot be told (yet).

        `owns` tells whether a process of the member holds the socket of an inode. Raises OSError to begin another.
        """

    def unprobe(self) -> None:
        """Forget the connection that `reach` began."""

    def close(self) -> None:
        """Close our copies only: who else holds one goes on listening."""


def parse_address(
    text: str,
    *,
    name: str,
    mode: str = "reuseport",
    backlog: int = 4096,
    options: Mapping[str, str | int] = MappingProxyType({}),
) -> Address:
    """Read an address of whatever kind: its prefix and the mode tell which. Raises ValueError saying what would do.

    `options` are the keys that only some kinds have, such as `v6only`.
    """
    if text.startswith(PREFIX):
        place = UnixAddress.parse(text, name=name, backlog=backlog, options=options)
        return SharedAddress(place) if mode == "shared" or place.abstract else place
    of_files = sorted(KEYS & options.keys())
    if of_files:
        raise ValueError(f"{of_files[0]} means nothing here: it belongs to a Unix socket with a path")
    v6only = bool(options["v6only"]) if "v6only" in options else None
    others = tuple((key, value) for key, value in options.items() if key != "v6only")
    if text.startswith(SCHEME):
        if mode == "shared":
            raise ValueError('mode = "shared" means nothing for UDP: leave it out')
        return UdpAddress.parse(text, name=name, v6only=v6only, options=others)
    tcp = TcpAddress.parse(text, name=name, backlog=backlog, v6only=v6only, options=others)
    if mode == "shared" and tcp.option("defer_accept"):
        raise ValueError('defer_accept does not go with mode = "shared": leave one of them out')
    return SharedAddress(tcp) if mode == "shared" else tcp


def open_listener(address: Address, handed: Handed | None = None) -> Listener:
    """Bind an address without listening, or take over the socket that was handed over for it.

    Raises HostError, which names the holder of an address in use.
    """
    if handed is not None:
        return _adopt(address, handed)
    match address:
        case TcpAddress():
            return TcpListener.open(address)
        case UdpAddress():
            return UdpListener.open(address)
        case UnixAddress():
            return UnixListener.open(address)
        case SharedAddress():
            return SharedListener.open(address)
        case _:
            raise TypeError(f"{address} is of no kind that can be listened on")


def resume_listener(address: Address, past: Past, handed: Handed | None = None) -> Listener:
    """Go on with what an earlier supervisor had of an address, and with the socket that was handed over to both.

    Raises HostError where a socket's file is gone.
    """
    try:
        match address:
            case TcpAddress():
                return TcpListener.resumed(address, past)
            case UdpAddress():
                return UdpListener.resumed(address, past)
            case UnixAddress():
                return UnixListener.resumed(address, past)
            case SharedAddress() if handed is not None:
                made = HandedListener(address, handed)
                made.resume(past)
                return made
            case SharedAddress():
                return SharedListener.resumed(address, past)
            case _:
                raise TypeError(f"{address} is of no kind that can be listened on")
    except OSError as gone:
        raise HostError(f"{address} cannot be taken back: {gone.filename or 'a socket'}: {gone.strerror}") from gone


def is_handed(listener: Listener) -> bool:
    """Tell whether somebody else made its socket, and keeps it when we end."""
    return isinstance(listener, HandedListener) or (isinstance(listener, Group) and listener.anchor is not None)


def _adopt(address: Address, handed: Handed) -> Listener:
    handed.socket.settimeout(None)  # children share its file description, and expect it to block
    match address:
        case SharedAddress():
            return HandedListener(address, handed)
        case TcpAddress() | UdpAddress() if not take_over(handed):
            raise HostError(
                f"{address.name} at {address} was made by uid {handed.uid}, and only root can take it over: "
                'run gapless as root, with user = "..." for the server, or say mode = "shared" (TCP)'
            )
        case TcpAddress():
            return TcpListener.adopt(address, handed.socket)
        case UdpAddress():
            return UdpListener.adopt(address, handed.socket)
        case _:
            raise HostError(
                f'{address.name} at {address} was handed over, and is one socket for all: say mode = "shared", '
                "or leave it to gapless alone"
            )
