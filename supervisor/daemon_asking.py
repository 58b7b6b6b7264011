"""A request as it comes by the control socket, in the core's words."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from supervisor.control.desk import ABORT
from supervisor.core.model import Ask, Request

if TYPE_CHECKING:
    from supervisor.control.api import Terms
    from supervisor.linux.peer import Peer


def request_of(what: str, peer: Peer, terms: Terms) -> Request:
    """For an upgrade, a rollback or an abort, by whom the kernel says."""
    return Request(
        id=terms.request or secrets.token_hex(4),
        ask=Ask.UPGRADE if what == ABORT else Ask(what),
        way="control",
        uid=peer.uid,
        pid=peer.pid,
        if_current=terms.if_current,
        to=terms.to,
        version=terms.release,
    )
