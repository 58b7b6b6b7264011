"""A verification has no deadline, so that a fault of our own in it has to end it."""

import asyncio
from types import SimpleNamespace
from typing import Any

from structlog.testing import capture_logs

from supervisor.core import events
from supervisor.core.due import VerifyRelease
from supervisor.core.model import Reason, Request
from supervisor.daemon_ways import Ways


def test_a_fault_of_our_own_refuses_the_handoff() -> None:
    async def now() -> None:
        raise LookupError("a bug")

    others: Any = SimpleNamespace(now=lambda: 1.0)
    source: Any = SimpleNamespace(now=now)
    ways = Ways(others, others, others, source, others, others, others, others)
    with capture_logs() as told:
        seen = asyncio.run(ways._verify(VerifyRelease(7, Request(id="r"), None)))
    assert isinstance(seen, events.Refused)
    assert (seen.handoff, seen.failure.reason) == (7, Reason.BAD_RELEASE)
    assert "a fault of gapless itself" in seen.failure.detail
    assert [each["event"] for each in told] == ["bug"]
