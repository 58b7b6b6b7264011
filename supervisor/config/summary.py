"""What a configuration amounts to, for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.config.tables import Configuration

_METHODS = {
    "auto": "by a line on the readiness pipe or sd_notify; of one that says nothing by accepting a connection",
    "pipe": "by a line on the readiness pipe",
    "notify": "by READY=1 to sd_notify",
    "einhorn": "by an ack in einhorn's way",
    "accept": "by accepting a connection",
    "http": "by its answers over HTTP",
}


def summary(configuration: Configuration) -> list[str]:
    """How a generation is started, found ready, replaced and ended: a line each."""
    ready, handoff = configuration.ready, configuration.handoff
    probed = ready.probe and ready.method not in {"accept", "http"}
    return [
        *_identity(configuration),
        f"ready:      {_METHODS[ready.method]}, within {_seconds(ready.timeout)}"
        + ("; then one connection is to be accepted" if probed else ""),
        f"handoff:    {handoff.mode}; {_handoff(configuration)}",
        (
            f"when dead:  started again at once, then after {_seconds(configuration.restart.delay)} and ever longer, "
            f"up to {_seconds(configuration.restart.longest)}"
        ),
        *_health(configuration),
        *_rollback(configuration),
        *_follow(configuration),
        f"stop:       {configuration.drain_signal}, and KILL after {_seconds(configuration.stop.timeout)}",
    ]


def _health(configuration: Configuration) -> list[str]:
    health, recycle = configuration.health, configuration.recycle
    often = f"fails {health.failures} probes in a row ({health.probe}, every {_seconds(health.interval)})"
    parts = [
        f"sends no WATCHDOG=1 for {_seconds(health.watchdog)}" if health.watchdog else "",
        often if health.probe != "none" else "",
        f"has more than {recycle.memory / (1 << 20):g} MiB" if recycle.memory else "",
        f"is ready for {_seconds(recycle.age)}" if recycle.age else "",
    ]
    said = " or ".join(part for part in parts if part)
    return [f"replaced:   by a fresh copy when it {said}"] if said else []


def _rollback(configuration: Configuration) -> list[str]:
    rollback = configuration.rollback
    if not rollback.after:
        return []
    lasts = f"for {_seconds(rollback.quarantine)}" if rollback.quarantine else "until that is lifted"
    often = "once" if rollback.after == 1 else f"{rollback.after} times within {_seconds(rollback.within)}"
    return [f"gone back:  to the last good release when it fails {often}, and not started again {lasts}"]


def _follow(configuration: Configuration) -> list[str]:
    what = {
        "current": "current, when it is moved",
        "patch": "a newer version that is added, if its major and minor number are the same",
    }
    releases = configuration.releases
    return [f"follows:    {what[releases.follow]}, in {releases.root}"] if releases.follow in what else []


def _handoff(configuration: Configuration) -> str:
    handoff, drain = configuration.handoff, configuration.drain
    ends = f"gets {configuration.drain_signal}, and KILL after {_seconds(drain.timeout)}"
    if handoff.mode == "exclusive":
        until = f"{_seconds(handoff.probation)} after it is ready" if handoff.probation else "it is ready"
        return (
            f"the old one {ends}; then the new one starts, clients waiting; if it fails until {until}, the old one does"
        )
    standby = f"the old one stands by for {_seconds(handoff.probation)}" if handoff.probation else "no probation"
    return f"{standby}, then it {ends}"


def _identity(configuration: Configuration) -> list[str]:
    service = configuration.service
    parts = [
        f"user {service.user}" if service.user else "",
        f"group {service.group}" if service.group else "",
        f"groups {', '.join(service.groups) or 'none'}" if service.groups is not None else "",
        f"capabilities {', '.join(service.capabilities) or 'none'}" if service.capabilities is not None else "",
        f"in {service.directory}" if service.directory else "",
        f"umask {service.umask}" if service.umask else "",
        f"limits {', '.join(service.limits)}" if service.limits else "",
        f"nice {service.nice}" if service.nice is not None else "",
        f"oom_score_adj {service.oom_score_adj}" if service.oom_score_adj is not None else "",
        f"listener {service.stdin} as its standard input" if service.stdin else "",
        f"output to {service.stdout}" if service.stdout else "",
        f"errors to {service.stderr}" if service.stderr else "",
    ]
    said = ", ".join(part for part in parts if part)
    lines = [f"runs with:  {said}"] if said else []
    return [*lines, f"dialects:   {', '.join(service.dialects)}"] if service.dialects else lines


def missing_folders(configuration: Configuration) -> Iterator[str]:
    """Folders without which no server can be started, in sentences; they may be there by then."""
    service = configuration.service
    wanted = {"directory": service.directory, "stdout": service.stdout, "stderr": service.stderr}
    for key, path in wanted.items():
        folder = Path(path or "/") if key == "directory" else Path(path or "/").parent
        if not folder.is_dir():
            yield f"service.{key} = {json.dumps(str(path))}: {folder} is no folder, and no server starts without it"


def _seconds(seconds: float) -> str:
    for size, unit in ((3600.0, "h"), (60.0, "min"), (1.0, "s")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1000:g} ms"
