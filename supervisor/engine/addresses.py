"""From a listener as it is configured to an address that can be bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.linux.address import TcpAddress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor.core.model import Listen
    from supervisor.linux.listener import Address


def addresses(configured: Iterable[Listen]) -> list[Address]:
    """In the same order. Raises ValueError for what a checked configuration cannot have."""
    return [
        TcpAddress.parse(each.address, name=each.name, backlog=each.backlog, v6only=each.v6only) for each in configured
    ]
