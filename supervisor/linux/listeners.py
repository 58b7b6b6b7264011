"""All listeners of a service, and the sets of sockets that generations have of them.

A set has a socket of each listener that its generation is configured with, under the name and in the order of that
configuration. Listeners come with the first set that wants them and go with the last: a listener that a new
configuration no longer names stays until the generations that know it have ended.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Self

from supervisor.errors import HostError
from supervisor.linux import sockdiag
from supervisor.linux.address import Address, Socket
from supervisor.linux.group import Group
from supervisor.linux.handed import Handed
from supervisor.linux.listener import Listener, is_handed, open_listener
from supervisor.linux.shared import SharedListener
from supervisor.linux.tcp import TcpListener
from supervisor.linux.unix import UnixListener


class Place(NamedTuple):
    """A listener in a set, by the name that it has there."""

    name: str
    listener: Listener


class Listeners:
    """What is done to a set is done on all its listeners or on none."""

    def __init__(self) -> None:
        """Begin without any."""
        self._listeners: list[Listener] = []
        self._sets: dict[int, tuple[Place, ...]] = {}

    @classmethod
    def open(cls, addresses: Iterable[Address], handed: Mapping[str, Handed] = MappingProxyType({})) -> Self:
        """Bind every address, with nobody listening yet; raise HostError, with none bound, when one is refused.

        `handed`, by name: sockets that are there already.
        """
        made = cls()
        try:
            for address in addresses:
                made._listeners.append(open_listener(address, handed.get(address.name)))
        except HostError:
            made.close()
            raise
        return made

    @classmethod
    def resumed(cls, listeners: Iterable[Listener], sets: Mapping[int, Iterable[Place]]) -> Self:
        """Go on with listeners and sets that an earlier supervisor had."""
        made = cls()
        made._listeners = list(listeners)
        made._sets = {member: tuple(places) for member, places in sets.items()}
        return made

    def __iter__(self) -> Iterator[Listener]:
        """Go through the listeners that are open."""
        return iter(tuple(self._listeners))

    def holds(self, member: int) -> bool:
        """Tell whether that set is there."""
        return member in self._sets

    def of(self, member: int) -> tuple[Place, ...]:
        """List a set's listeners with their names, in the order of its configuration; empty when it is not there."""
        return self._sets.get(member, ())

    def names(self, member: int) -> tuple[str, ...]:
        """List the names, in the order of the configuration."""
        return tuple(place.name for place in self.of(member))

    def sockets(self, member: int) -> list[Socket]:
        """List a set's sockets, in the order of the configuration."""
        return [listener.socket(member) for _, listener in self.of(member)]

    def inodes(self, member: int) -> dict[str, int]:
        """List the inodes of a set's sockets by name."""
        return {name: listener.inode(member) for name, listener in self.of(member)}

    def members(self) -> tuple[int, ...]:
        """List the sets, in the order of their numbers."""
        return tuple(sorted(self._sets))

    def join(self, member: int, addresses: Sequence[Address]) -> tuple[Listener, ...]:
        """Make a set, with the listeners that are missing; tell those. Raises HostError with nothing changed.

        A listener that has just been made has nobody else to steer to.
        """
        if member in self._sets:
            raise ValueError(f"set {member} is there already")
        here = {listener.address.identity: listener for listener in self}
        new: list[Listener] = []
        places: list[Place] = []
        try:
            for address in addresses:
                listener = here.get(address.identity)
                if listener is None:
                    self._refuse_another_way(address)
                    listener = open_listener(address)
                    new.append(listener)
                listener.enter(member, address)
                places.append(Place(address.name, listener))
            self._refuse_strangers([listener for _, listener in places])
            for _, listener in places:
                if listener.target is None:
                    listener.steer(member)
        except BaseException:  # whatever it was, nobody may be left in a group who has no server; it goes on up
            for _, listener in places:
                listener.withdraw(member)
            for listener in new:
                listener.close()
            raise
        self._listeners += new
        self._sets[member] = tuple(places)
        return tuple(new)

    def prepare(self, addresses: Iterable[Address]) -> list[tuple[Listener, Socket]] | None:
        """Have the sockets of the next set there, in the order of these addresses; None: not all can be had ahead.

        They take no part in anything before `join`, and are its own if it is for addresses that are configured alike.
        Raises HostError.
        """
        here = {listener.address.identity: listener for listener in self}
        made: list[tuple[Listener, Socket]] = []
        for address in addresses:
            listener = here.get(address.identity)
            sock = None if listener is None else listener.prepare(address)
            if listener is None or sock is None:
                return None
            made.append((listener, sock))
        return made

    def revive(self, member: int) -> list[str]:
        """Have those of a set listen again that its last server has shut down; tell their names. Raises HostError."""
        return [name for name, listener in self.of(member) if listener.revive(member)]

    def steer(self, member: int) -> None:
        """Send the next connections on every listener of the set to it; raise HostError, none changed, when refused.

        All is worked out first, so that the listeners change as close to one instant as system calls allow.
        """
        plans = [(listener, listener.target, listener.plan(member)) for _, listener in self.of(member)]
        for at, (_, _, commit) in enumerate(plans):
            try:
                commit()
            except HostError:
                for changed, before, _ in plans[:at]:
                    if before is not None:
                        changed.steer(before)
                raise

    def may_leave(self, member: int, unready: Container[int]) -> bool:
        """Tell whether the set may leave every listener with no waiting connection lost."""
        return all(listener.may_leave(member, unready) for _, listener in self.of(member))

    def leave(self, member: int, unready: Container[int] | None = None) -> tuple[Listener, ...]:
        """Take the set out of every listener, and close listeners that no other set has; tell those.

        The listeners of the last set keep their addresses. After a HostError in the middle, call it again to go on.
        """
        for _, listener in self.of(member):
            if member in listener.members:
                listener.leave(member, unready)
        self._sets.pop(member, None)
        return self._close_unused() if self._sets else ()

    def queue(self, member: int) -> int:
        """Tell how many connections wait to be accepted by the set, on all listeners together."""
        return sum(listener.queue(member) for _, listener in self.of(member))

    def reset_queue(self, member: int, limit: int) -> list[int]:
        """Reset up to `limit` waiting connections of a dead set on each listener; tell the clients' ports (0: none)."""
        return [port for _, listener in self.of(member) for port in listener.reset_queue(member, limit)]

    def reset_unmoved(self, member: int, unready: Container[int] | None, limit: int) -> list[int]:
        """Reset what waits where the kernel does not move it when the set leaves (None: nowhere); tell as above."""
        kept = [each for _, each in self.of(member) if unready is not None and each.may_leave(member, unready)]
        return [port for _, each in self.of(member) if each not in kept for port in each.reset_queue(member, limit)]

    def traces(self) -> tuple[frozenset[int], frozenset[bytes]]:
        """Tell by what accepted connections can be known: TCP ports, and the names of Unix sockets."""
        ports = {each.bound.port for each in self if isinstance(each, TcpListener)}
        others = [each for each in self if isinstance(each, (SharedListener, UnixListener))]
        ports |= {each.port for each in others if isinstance(each, SharedListener) and each.port is not None}
        return frozenset(ports), frozenset(name for each in others for name in each.names)

    def give_back(self) -> None:
        """Let whoever comes next wait in the sockets that outlive us."""
        for listener in self:
            if isinstance(listener, Group):
                listener.give_back()

    def close(self) -> None:
        """Close our copies only: who else holds one goes on listening."""
        for listener in self:
            listener.close()

    def _refuse_another_way(self, address: Address) -> None:
        for each in self:
            if address.fixed and str(each.address) == str(address):
                raise HostError(
                    f"{address} is in use by the generations that run, in another way: to change its mode, v6only or "
                    "device, stop the service and start it again"
                )

    def _close_unused(self) -> tuple[Listener, ...]:
        used = {id(listener) for places in self._sets.values() for _, listener in places}
        # One that was handed over is kept: nobody could bind its address anew while its maker has it.
        unused = tuple(listener for listener in self if id(listener) not in used and not is_handed(listener))
        for listener in unused:
            listener.close()
            self._listeners.remove(listener)
        return unused

    def _refuse_strangers(self, listeners: Iterable[Listener]) -> None:
        """Look once at all sockets of the host: a look for each listener would cost their square."""
        groups = [listener for listener in listeners if isinstance(listener, Group)]
        found: dict[tuple[int, int, int], list[sockdiag.FoundSocket]] = {}
        for protocol, family in {(listener.bound.protocol, listener.bound.family) for listener in groups}:
            for each in sockdiag.listening(family, protocol=protocol):
                found.setdefault((protocol, family, each.port), []).append(each)
        for listener in groups:
            here = listener.bound
            listener.refuse_strangers(found.get((here.protocol, here.family, here.port), []))
