"""Where a later supervisor finds what this one has: the journal's words for sockets and pipes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from supervisor.linux.group import Group

if TYPE_CHECKING:
    from supervisor.engine.instances import Instances
    from supervisor.linux.listener import Listener
    from supervisor.linux.listeners import Listeners


def whereabouts(listeners: Listeners, instances: Instances) -> dict[str, Any]:
    """As they are now."""
    return {
        "sets": {str(member): listeners.inodes(member) for member in listeners.members()},
        "listeners": [_listener(each) for each in listeners],
        "pipes": {
            f"{each.generation}.{each.run}": each.channel.pipe_inode
            for each in instances
            if each.channel.pipe_inode is not None
        },
    }


def _listener(each: Listener) -> dict[str, Any]:
    return {
        "order": [(entry.number, entry.inode, entry.fd) for entry in each.written()],
        "anchor": each.anchor if isinstance(each, Group) else None,
    }
