"""Ways to look: one that fails by a fault of our own ends, and a file that nobody asks about is read no further."""

import asyncio
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from structlog.testing import capture_logs

from supervisor import daemon_ways
from supervisor.core import events
from supervisor.core.due import DigestFile, VerifyRelease
from supervisor.core.launch import Launch
from supervisor.core.model import Reason, Release, Request
from supervisor.daemon_ways import Ways
from supervisor.releases.digest import digest_at_leisure
from supervisor.releases.pin import pin


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


def test_a_file_is_read_no_further_when_its_generation_is_over(tmp_path: Path) -> None:
    server = tmp_path / "server"
    server.write_bytes(b"#!/bin/sh\n")
    server.chmod(0o755)
    release = pin(Launch(argv=(str(server),), directory="/", environment=()))
    others: Any = SimpleNamespace(now=lambda: 1.0)
    ways = Ways(others, others, others, others, others, others, others, others)

    async def given_up() -> None:
        loop, begun = asyncio.get_running_loop(), asyncio.Event()

        def read(release: Release, _: float, over: Event) -> str:
            loop.call_soon_threadsafe(begun.set)
            return digest_at_leisure(release, 60.0, over)

        with patch.multiple(daemon_ways, digest_at_leisure=read, _UNTIL_DIGESTED=0.0):
            reading = asyncio.ensure_future(ways._digest(DigestFile(release.id, release)))
            await asyncio.wait_for(begun.wait(), 20)
            reading.cancel()
            await asyncio.wait_for(loop.shutdown_default_executor(), 20)

    asyncio.run(given_up())
