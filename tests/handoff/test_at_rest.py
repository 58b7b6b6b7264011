"""What it costs when nothing happens: no wake-ups, and little memory."""

import threading
from pathlib import Path

import pytest

from tests.harness import proc
from tests.harness.supervisor import Supervisor

WATCHED = 30.0
"""Seconds."""


@pytest.mark.timeout(200)
def test_it_never_wakes_up_and_is_small(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.start(v1)
    old = supervisor.upgrade(v2)["from_generation"]
    supervisor.event("generation_ended", generation=old)
    pause = threading.Event()
    pause.wait(2.0)  # what is written and hashed a moment later
    before = proc.switches(supervisor.pid)
    pause.wait(WATCHED)
    assert proc.switches(supervisor.pid) == before
    assert proc.pss(supervisor.pid) < 40 * 1024 * 1024


def test_what_checks_a_configuration_is_no_part_of_it(supervisor: Supervisor, v1: Path) -> None:
    """Neither at the start nor by a changed file."""
    supervisor.start(v1)
    supervisor.configure(drain={"timeout": "20s"})
    supervisor.upgrade()
    maps = Path(f"/proc/{supervisor.pid}/maps").read_text()
    assert "/uvloop/" in maps
    assert "pydantic" not in maps
