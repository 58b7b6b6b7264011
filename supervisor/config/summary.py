"""What a configuration amounts to, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervisor.config.tables import Configuration

_METHODS = {
    "auto": "by a line on the readiness pipe or sd_notify; of one that says nothing by accepting a connection",
    "pipe": "by a line on the readiness pipe",
    "notify": "by READY=1 to sd_notify",
    "accept": "by accepting a connection",
}


def summary(configuration: Configuration) -> list[str]:
    """How a generation is started, found ready, replaced and ended: a line each."""
    ready, handoff, drain = configuration.ready, configuration.handoff, configuration.drain
    probed = ready.probe and ready.method != "accept"
    standby = f"the old one stands by for {_seconds(handoff.probation)}" if handoff.probation else "no probation"
    return [
        *_identity(configuration),
        f"ready:      {_METHODS[ready.method]}, within {_seconds(ready.timeout)}"
        + ("; then one connection is to be accepted" if probed else ""),
        f"handoff:    {handoff.mode}; {standby}, then it gets {drain.signal}, and KILL after {_seconds(drain.timeout)}",
        (
            f"when dead:  started again at once, then after {_seconds(configuration.restart.delay)} and ever longer, "
            f"up to {_seconds(configuration.restart.longest)}"
        ),
        f"stop:       {drain.signal}, and KILL after {_seconds(configuration.stop.timeout)}",
    ]


def _identity(configuration: Configuration) -> list[str]:
    service = configuration.service
    parts = [
        f"user {service.user}" if service.user else "",
        f"group {service.group}" if service.group else "",
        f"in {service.directory}" if service.directory else "",
        f"umask {service.umask}" if service.umask else "",
        f"limits {', '.join(service.limits)}" if service.limits else "",
        f"output to {service.stdout}" if service.stdout else "",
        f"errors to {service.stderr}" if service.stderr else "",
    ]
    said = ", ".join(part for part in parts if part)
    return [f"runs with:  {said}"] if said else []


def _seconds(seconds: float) -> str:
    for size, unit in ((3600.0, "h"), (60.0, "min"), (1.0, "s")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1000:g} ms"
