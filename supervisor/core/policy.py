"""How long, how often, how many: the numbers of a service and what follows from them."""

from __future__ import annotations

from msgspec import Struct

SHORTEST_PROBATION = 0.05
"""Seconds. What was on its way to the old generation when connections were shifted arrives within this."""

KILL_AGAIN = 5.0
"""Seconds after which a process that survived KILL (it is stuck in the kernel) is sent it once more."""

STEER_AGAIN = 1.0
"""Seconds after which steering back is tried again: there is nothing else to do."""

ONE_FAILURE = 2.0
"""Seconds from an OOM kill in which what else happens to the same run is part of that failure: the kernel says that it
has killed before who was killed is dead, and it may kill many before there is room."""

_MOST_DOUBLINGS = 64
"""Of the restart delay: more than any longest delay needs."""

_MOST_OF_IT = 0.9
"""Of the age at which one is recycled: who lives to see that was well."""

LONGEST_EXTENSION = 10
"""EXTEND_TIMEOUT_USEC may take a deadline to this many times what was configured, and no further."""


class HttpCheck(Struct, frozen=True, kw_only=True):
    """What a generation has to answer before it counts as ready."""

    listener: str
    path: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    tls: bool = False
    statuses: tuple[tuple[int, int], ...] = ((200, 299),)
    """Ranges of the status, both ends included."""
    body: str | None = None
    """A regular expression that is to be found in the body."""
    successes: int = 1
    """In a row."""
    interval: float = 0.1
    """Seconds between two attempts."""
    timeout: float = 1.0
    """Seconds that one attempt may take."""


class WarmUp(Struct, frozen=True, kw_only=True):
    """Requests that a candidate gets before its first client."""

    listener: str
    paths: tuple[str, ...]
    rounds: int = 1
    headers: tuple[tuple[str, str], ...] = ()
    tls: bool = False
    timeout: float = 10.0
    """Seconds for all together."""


class HealthProbe(Struct, frozen=True, kw_only=True):
    """What a generation is asked again and again while it serves."""

    http: HttpCheck | None = None
    """None: it has to accept a connection."""
    interval: float = 10.0
    """Seconds from one answer to the next question."""
    timeout: float = 5.0
    """Seconds that it has to answer."""
    failures: int = 3
    """In a row, after which it ails."""


class Policy(Struct, frozen=True, kw_only=True, cache_hash=True):
    """The configured numbers, in seconds."""

    ready_method: str = "auto"
    ready_timeout: float = 30.0
    ready_probe: bool = True
    """A candidate that has spoken must also accept one connection."""
    ready_http: HttpCheck | None = None
    """Set where the method is `http`."""
    warm_up: WarmUp | None = None
    exclusive: bool = False
    """The old generation ends before the candidate is started: for servers that cannot run twice."""
    ahead: bool = True
    """The next generation's process is made while one serves."""
    probation: float = 5.0
    drain_signal: str = "TERM"
    drain_timeout: float = 30.0
    drain_limit: int = 4
    """Draining generations at one time; above it the oldest is killed."""
    stop_timeout: float = 30.0
    restart_delay: float = 0.1
    restart_longest: float = 30.0
    restart_limit: int = 5
    """Deaths in a row after which the service is said to be failing, and started at the longest delay only."""
    restart_window: float = 60.0
    """Service of this length makes earlier deaths forgotten, and earlier replacements."""
    watchdog: float | None = None
    """A generation that has sent WATCHDOG=1 once, and then none for so long, hangs."""
    health_probe: HealthProbe | None = None
    health_delay: float = 10.0
    """Before the second replacement in a row that the service itself asks for; doubled for each further one."""
    health_longest: float = 600.0
    rollback_after: int = 3
    """Failures of a committed release, after which the service goes back to the last good one; 0: it never does."""
    rollback_within: float = 300.0
    """Seconds that these may lie apart."""
    rollback_quarantine: float = 86400.0
    """Seconds that the one which was gone back from is not started again; 0: until somebody lifts that."""
    recycle_memory: int | None = None
    """Bytes. Who uses more is replaced by a fresh copy."""
    recycle_age: float | None = None
    """Seconds. Who has been ready for so long is, too."""


def restart_after(failures: int, policy: Policy) -> float:
    """Seconds to wait before the next start, after that many deaths in a row (at least one).

    The first is free: a single crash costs nobody more than the start-up. Then the delay doubles.
    """
    if failures <= 1:
        return 0.0
    if is_failing(failures, policy):
        return policy.restart_longest
    doublings = min(failures - 2, _MOST_DOUBLINGS)
    return min(policy.restart_longest, policy.restart_delay * 2.0**doublings)


def replace_after(replacements: int, policy: Policy) -> float:
    """Seconds to wait before the service asks for another replacement, after that many in a row (at least one)."""
    doublings = min(replacements - 1, _MOST_DOUBLINGS)
    return min(policy.health_longest, policy.health_delay * 2.0**doublings)


def well_enough(policy: Policy) -> float:
    """Seconds of good health that make earlier replacements forgotten."""
    return min(policy.restart_window, _MOST_OF_IT * (policy.recycle_age or policy.restart_window))


def is_failing(failures: int, policy: Policy) -> bool:
    """Whether it died too often in a row to be tried quickly."""
    return failures > policy.restart_limit


def failures_after(failures: int, ready_at: float | None, at: float, policy: Policy) -> int:
    """Deaths in a row, this one counted."""
    if ready_at is not None and at - ready_at >= policy.restart_window:
        return 1
    return failures + 1


def extended(until: float, asked: float, since: float, timeout: float) -> float:
    """A deadline moved to `asked`, within the ceiling. Never moved nearer."""
    return max(until, min(asked, since + timeout * LONGEST_EXTENSION))


def probation_of(policy: Policy) -> float:
    """Seconds that the old generation stays able to take over."""
    return max(policy.probation, SHORTEST_PROBATION)
