"""Who asked for what by the control socket or a signal, and what they were told: for the audit log and for the log."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

import structlog

from supervisor.core.allowance import Allowance
from supervisor.core.pointing import FOLLOW
from supervisor.telemetry.asker import login_of, process_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor.core.access import Access, Admission
    from supervisor.linux.peer import Peer
    from supervisor.telemetry.audit import Audit

_log = structlog.get_logger()

_ASKED = ("request", "if_current", "release", "to")
_ANSWERED = ("request", "result", "reason", "error", "handoff")
_LONGEST = 500
"""Characters of what somebody sent, or was told."""


class Accounts:
    """Keeps them."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._refusals = Allowance(most=60, every=30.0)
        self._untold = 0

    def asked(self, command: str, peer: Peer, access: Access, body: Mapping[str, Any]) -> str:
        """Somebody may do that, and it begins: a name for this call, by which `answered` is told of it."""
        call = secrets.token_hex(4)
        about = {"call": call, "command": command, "way": "control", "role": access.role, **_who(peer)}
        self._tell("asked", {**about, **_some(_ASKED, body)})
        return call

    def answered(self, call: str, command: str, status: int, answer: object) -> None:
        """That is what they were told."""
        told = _some(_ANSWERED, answer) if isinstance(answer, dict) else {}
        self._tell("answered", {"call": call, "command": command, "status": status, **told})

    def refused(self, what: str, peer: Peer, access: Access, needs: Access) -> None:
        """Somebody may not do that.

        Told so often and not more: who may do nothing is not to fill the disk, nor to push out what others did.
        """
        left = self._refusals.less_one(time.monotonic())
        if left is None:
            self._untold += 1
            return
        self._refusals = left
        roles = {"needs": needs.role, "role": access.role}
        more = {"untold": self._untold} if self._untold else {}
        self._tell("refused", {"command": what, "way": "control", **roles, **_who(peer), **more}, grave=True)
        self._untold = 0

    def signal(self, name: str, at: float) -> None:
        """A signal came then. asyncio does not tell who sent it (siginfo), and only those may whom the kernel lets."""
        self._audit.write("signal", at, way=name)

    def followed(self, request: str, because: str) -> None:
        """The store asks for an upgrade. Who has changed it is not known."""
        self._audit.write("followed", time.time(), way=FOLLOW, request=request, because=because)

    def roles(self, admission: Admission) -> None:
        """From now on it is those who may use the control socket."""
        given = {"viewers": admission.viewers, "operators": admission.operators, "admins": admission.admins}
        who = {role: " ".join(members.names) for role, members in given.items()}
        self._tell("roles", {"mode": f"{admission.mode:04o}", "group": admission.group, **who})

    def close(self) -> None:
        """Have all of it on disk."""
        self._audit.close()

    def _tell(self, event: str, fields: dict[str, Any], *, grave: bool = False) -> None:
        at = time.time()
        self._audit.write(event, at, **fields)
        known = {key: value for key, value in fields.items() if value is not None}
        (_log.warning if grave else _log.info)(f"control_{event}", at=at, **known)


def _who(peer: Peer) -> dict[str, Any]:
    """The first three are the kernel's word; what that process is called and who logged in may be another's by now."""
    seen = {"process": process_name(peer.pid), "login": login_of(peer.pid)}
    return {"uid": peer.uid, "gid": peer.gid, "pid": peer.pid, **seen}


def _some(keys: tuple[str, ...], said: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: said[key] for key in keys if said.get(key) is not None}
    return {key: value[:_LONGEST] if isinstance(value, str) else value for key, value in found.items()}
