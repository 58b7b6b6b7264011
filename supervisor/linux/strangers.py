"""Sockets on an address of ours that are not ours: SO_REUSEPORT lets every process of the same user join (socket(7)).

They have indexes of their own in the group, and which ones nobody tells. So who finds one does not begin; and while one
is there that came later, no socket of ours may leave whose index a stranger would take: it would get all clients.
"""

from collections.abc import Collection, Iterable

from supervisor.errors import HostError
from supervisor.linux import sockdiag
from supervisor.linux.address import InetAddress
from supervisor.linux.steering import NO_INTERFACE


def refuse(bound: InetAddress, ours: Collection[int], found: Iterable[sockdiag.FoundSocket]) -> None:
    """Raise HostError when one of the sockets found is on this address and not of our inodes."""
    host = bound.host.partition("%")[0]
    for other in found:
        here = (other.host, other.port) == (host, bound.port) and other.interface != NO_INTERFACE
        if here and other.inode not in ours:
            raise HostError(f"{bound} is also listened on by {other.owner()}, so it cannot be steered")


def present(bound: InetAddress, ours: Collection[int]) -> bool:
    """Look whether there are any; where that cannot be seen there may be."""
    try:
        refuse(bound, ours, sockdiag.listening(bound.family, bound.port, bound.protocol))
    except HostError:
        return True
    return False
