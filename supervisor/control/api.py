"""The control interface as one table: method, path, which role it takes, what is done."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from supervisor.core.access import Access
from supervisor.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from supervisor.linux.peer import Peer

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)

_LONGEST_SHOWN = 100
"""Characters of what was sent that are sent back."""


class Terms(Struct, frozen=True):
    """What a request may say of itself."""

    request: str | None = None
    """Its id: said again, it is the same request."""
    if_current: str | None = None
    """The release that is to be serving when it is taken up."""
    to: str | None = None
    """The release that a rollback is to lead to."""
    release: str | None = None
    """The version in the store that is asked for."""


class Witness(Protocol):
    """Keeps account of who asked for what."""

    def asked(self, command: str, peer: Peer, access: Access, body: Mapping[str, Any]) -> str:
        """Somebody may do that, and it begins: a name for this call, by which `answered` is told of it."""

    def answered(self, call: str, command: str, status: int, answer: object) -> None:
        """That is what they were told."""

    def refused(self, what: str, peer: Peer, access: Access, needs: Access) -> None:
        """Somebody may not do that."""


class Service(Protocol):
    """What the daemon offers to those who ask."""

    @property
    def witness(self) -> Witness:
        """Who keeps account of it."""

    def status(self) -> dict[str, Any]:
        """All that is true now."""

    def explain(self) -> list[dict[str, Any]]:
        """What waits now, why, and until when."""

    def history(self, limit: int) -> list[dict[str, Any]]:
        """Handoffs that have ended, oldest first."""

    def served(self) -> list[dict[str, Any]]:
        """What is known of the releases that serve or have served."""

    def ask(self, what: str, peer: Peer, terms: Terms) -> tuple[str, asyncio.Future[dict[str, Any]]]:
        """Ask for `upgrade`, `rollback` or `abort`: the request's id, and what will come of it.

        Raises BadRequestError if the id that it is to have is that of a request for something else.
        """

    def quarantine(self) -> list[dict[str, Any]]:
        """The releases that are in quarantine."""

    def lift(self, name: str, peer: Peer) -> str:
        """End the quarantine of the release of that name; its id. Raises OperatorError if there is not just one."""

    def stop(self, peer: Peer) -> None:
        """Begin to stop; asked again, stop now."""

    async def reexec(self) -> None:
        """Become what is on disk by now, a moment later. Raises OperatorError if that could not begin."""

    def happenings(self) -> AsyncGenerator[dict[str, Any], None]:
        """What happens from now on."""


class Call(Struct, frozen=True):
    """One request, as far as a handler needs it."""

    service: Service
    peer: Peer
    body: Mapping[str, Any]


class Answer(Struct, frozen=True):
    """A whole answer, or (`stream`) the events that it consists of."""

    status: int
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()
    stream: AsyncGenerator[dict[str, Any], None] | None = None


class BadRequestError(Exception):
    """What was sent is not what the endpoint takes."""


class Endpoint(Struct, frozen=True):
    """One row of the table."""

    method: str
    path: str
    needs: Access
    """The least that one has to be."""
    handle: Callable[[Call], Awaitable[Answer]]
    takes: tuple[str, ...] = ()
    """Keys that its body may have."""

    @property
    def commands(self) -> bool:
        """Whether it does something, and does not merely tell."""
        return self.method != "GET"

    @property
    def name(self) -> str:
        """The last word of its path."""
        return self.path.rpartition("/")[2]


def body_of(endpoint: Endpoint, raw: bytes) -> dict[str, Any]:
    """The body of a request, checked. Raises BadRequestError."""
    if not raw:
        return {}
    try:
        body = json.loads(raw)
    except ValueError as wrong:
        raise BadRequestError(f"the body is not JSON ({str(wrong)[:_LONGEST_SHOWN]}): {_wanted(endpoint)}") from None
    except RecursionError:
        raise BadRequestError(f"the body is nested too deeply: {_wanted(endpoint)}") from None
    if not isinstance(body, dict):
        raise BadRequestError(f"the body is JSON, and no object: {_wanted(endpoint)}")
    unknown = sorted(body.keys() - set(endpoint.takes))
    if unknown:
        raise BadRequestError(f"{unknown[0][:_LONGEST_SHOWN]} is not known to {endpoint.path}: {_wanted(endpoint)}")
    return body


def _wanted(endpoint: Endpoint) -> str:
    if not endpoint.takes:
        return "send no body"
    return f"send an object with {' or '.join(endpoint.takes)}, or no body"


async def _status(call: Call) -> Answer:
    return Answer(200, call.service.status())


async def _explain(call: Call) -> Answer:
    return Answer(200, {"waiting": call.service.explain()})


async def _history(call: Call) -> Answer:
    return Answer(200, {"handoffs": call.service.history(100)})


async def _served(call: Call) -> Answer:
    return Answer(200, {"served": call.service.served()})


async def _events(call: Call) -> Answer:
    return Answer(200, stream=call.service.happenings())


async def _quarantine(call: Call) -> Answer:
    return Answer(200, {"quarantine": call.service.quarantine()})


async def _lift(call: Call) -> Answer:
    name = call.body.get("release")
    if not (isinstance(name, str) and name):
        raise BadRequestError("release is to be one: its id, the part before +, or its SHA-256's first digits")
    try:
        return Answer(200, {"lifted": call.service.lift(name, call.peer)})
    except OperatorError as refused:
        return Answer(409, {"error": str(refused)})


async def _stop(call: Call) -> Answer:
    call.service.stop(call.peer)
    return Answer(202, {"stopping": True})


async def _reexec(call: Call) -> Answer:
    try:
        await call.service.reexec()
    except OperatorError as refused:
        return Answer(409, {"error": str(refused)})
    return Answer(202, {"reexec": True})


def _asking(what: str) -> Callable[[Call], Awaitable[Answer]]:
    async def handle(call: Call) -> Answer:
        wait = call.body.get("wait", False)
        if not isinstance(wait, bool):
            raise BadRequestError("wait is to be true or false")
        request, outcome = call.service.ask(what, call.peer, _terms(call.body))
        if not wait and not outcome.done():
            return Answer(202, {"request": request})
        return Answer(200, {"request": request, **await asyncio.shield(outcome)})

    return handle


def _terms(body: Mapping[str, Any]) -> Terms:
    """Raises BadRequestError."""
    request, current, to = body.get("request"), body.get("if_current"), body.get("to")
    if request is not None and not (isinstance(request, str) and _ID.fullmatch(request)):
        raise BadRequestError("request is to be 1 to 64 of the letters a-z and A-Z, digits and . _ -")
    if current is not None and not (isinstance(current, str) and current):
        raise BadRequestError("if_current is to be a release: its id, the part before +, or its SHA-256's first digits")
    release = body.get("release")
    if release is not None and not (isinstance(release, str) and release):
        raise BadRequestError("release is to be the name of a version in the store")
    if to is not None and not (isinstance(to, str) and to):
        raise BadRequestError("to is to be a release: its id, the part before +, or its SHA-256's first digits")
    return Terms(request, current, to, release)


_OF_A_HANDOFF = ("wait", "request", "if_current")

TABLE: tuple[Endpoint, ...] = (
    Endpoint("GET", "/v1/status", Access.VIEWER, _status),
    Endpoint("GET", "/v1/explain", Access.VIEWER, _explain),
    Endpoint("GET", "/v1/history", Access.VIEWER, _history),
    Endpoint("GET", "/v1/served", Access.OPERATOR, _served),
    Endpoint("GET", "/v1/events", Access.VIEWER, _events),
    Endpoint("POST", "/v1/upgrade", Access.OPERATOR, _asking("upgrade"), takes=(*_OF_A_HANDOFF, "release")),
    Endpoint("POST", "/v1/rollback", Access.OPERATOR, _asking("rollback"), takes=(*_OF_A_HANDOFF, "to")),
    Endpoint("POST", "/v1/abort", Access.OPERATOR, _asking("abort"), takes=("wait",)),
    Endpoint("GET", "/v1/quarantine", Access.VIEWER, _quarantine),
    Endpoint("POST", "/v1/quarantine/lift", Access.OPERATOR, _lift, takes=("release",)),
    Endpoint("POST", "/v1/stop", Access.ADMIN, _stop),
    Endpoint("POST", "/v1/reexec", Access.ADMIN, _reexec),
)
