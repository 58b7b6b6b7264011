"""From a listener as it is configured to an address that can be bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.errors import HostError
from supervisor.linux.listener import parse_address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor.core.launch import Listen
    from supervisor.linux.address import Address


def addresses(configured: Iterable[Listen]) -> list[Address]:
    """In the same order. Raises HostError where the host has changed since the configuration was checked."""
    try:
        return [
            parse_address(each.address, name=each.name, mode=each.mode, backlog=each.backlog, options=_options(each))
            for each in configured
        ]
    except ValueError as gone:
        raise HostError(str(gone)) from gone


def _options(each: Listen) -> dict[str, str | int]:
    return dict(each.options) | ({} if each.v6only is None else {"v6only": each.v6only})
