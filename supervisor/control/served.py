"""What is known of releases that serve or have served, and what each of them ran by, so that two can be compared.

Every fact is a name and a value in words, by section: what compares them needs to know nothing of what they mean.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins

from supervisor.control.secrecy import Veil
from supervisor.core.model import Role
from supervisor.core.record import without_end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.core.launch import Launch, Listen
    from supervisor.core.model import Release, State
    from supervisor.core.policy import Policy

_APART = frozenset({"argv", "listen", "environment", "store"})
"""Of a launch: the first have sections of their own, and where a release is kept changes nothing of how it runs."""
_TABLES = ("ready", "drain", "stop", "restart", "health", "recycle", "rollback")
_KEYS = {
    "warm_up": "ready.warm_up",
    "exclusive": "handoff.exclusive",
    "probation": "handoff.probation",
    "watchdog": "health.watchdog",
}
"""Numbers of a policy whose place in the configuration their names do not say."""


def served(state: State) -> list[dict[str, Any]]:
    """Each release with what it ran by: who serves first, then the others from the newest on."""
    veil = Veil()
    found: dict[Release, dict[str, Any]] = {}
    for called, release, policy in _known(state):
        if release not in found:
            about = {"id": release.id, "sha256": release.sha256 or None}
            found[release] = {**about, "called": [without_end(release.id)], "facts": _facts(release, policy, veil)}
        found[release]["called"] += called
    return list(found.values())


def _known(state: State) -> Iterator[tuple[list[str], Release, Policy | None]]:
    """With what else it may be called by. One that serves in several generations is there for each way it was run."""
    handoff = state.handoff
    order = [Role.SERVING, Role.CANDIDATE, Role.STANDBY, Role.DRAINING]
    for each in sorted(state.generations, key=lambda each: (order.index(each.role), -each.number)):
        called = [str(each.role)] if each.role is not Role.DRAINING else []
        policy = None
        if handoff is not None and each.number == handoff.candidate:
            policy = handoff.policy
        elif each.role in {Role.SERVING, Role.STANDBY}:
            policy = state.policy
        yield called, each.release, policy
    for served in reversed(state.record.served):
        yield ["previous"] if served.release == state.previous else [], served.release, served.policy
    if state.previous is not None and state.record.found(state.previous) is None:
        yield ["previous"], state.previous, None


def _facts(release: Release, policy: Policy | None, veil: Veil) -> dict[str, Any]:
    launch = release.launch
    return {
        "file": {"path": release.path, "size": str(release.size), "sha256": release.sha256 or "not known yet"},
        "command": {"arguments": json.dumps(veil.over_arguments(launch.argv[1:]), ensure_ascii=False)},
        "environment": {name: veil.over(name, value) for name, value in launch.environment},
        "listen": {each.name: _listener(each) for each in launch.listen},
        "service": {key: _word(value) for key, value in _launch(launch).items()},
        "policy": None if policy is None else _policy(policy, veil),
    }


def _launch(launch: Launch) -> dict[str, Any]:
    return {key: getattr(launch, key) for key in launch.__struct_fields__ if key not in _APART}


def _listener(listen: Listen) -> str:
    more = {"mode": listen.mode, "backlog": listen.backlog, "v6only": listen.v6only, **dict(listen.options)}
    return " ".join([listen.address, *(f"{key}={value}" for key, value in more.items() if value is not None)])


def _policy(policy: Policy, veil: Veil) -> dict[str, str]:
    found = {}
    for name, value in to_builtins(policy).items():
        table, _, rest = name.partition("_")
        key = _KEYS.get(name) or (f"{table}.{rest}" if table in _TABLES else name)
        found[key] = _word(_veiled(value, veil))
    return found


def _veiled(value: Any, veil: Veil) -> Any:  # noqa: ANN401 - whatever a policy is made of
    """Headers may be keys to something."""
    if not isinstance(value, dict):
        return value
    return {
        key: [[name, veil.over(name, text)] for name, text in each] if key == "headers" else _veiled(each, veil)
        for key, each in value.items()
    }


def _word(value: object) -> str:
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)
