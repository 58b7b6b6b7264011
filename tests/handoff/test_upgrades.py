"""Upgrades one after another under load, by HUP: no request is lost."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.load import Load
from tests.harness.supervisor import Supervisor

ENOUGH = 17_000
"""Requests in each of the six runs: more than 100,000 together."""


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("probation", "upgrades", "rate"),
    [("0s", 60, 1500), ("200ms", 30, 1500), ("5s", 2, 1500)],
    ids=["no-probation", "short", "5s"],
)
def test_no_request_is_lost(
    networked: Supervisor,
    load: Callable[..., Load],
    v1: Path,
    v2: Path,
    probation: str,
    upgrades: int,
    rate: int,
) -> None:
    supervisor = networked
    look = "nothing" if probation == "0s" else "blocks"  # which is what it does if nothing is said
    supervisor.configure(handoff={"probation": probation}, drain={"limit": 40}, preflight={"refuse": look})
    supervisor.start(v1)
    running = load(supervisor, rate=rate)
    for number in range(1, upgrades + 1):
        ended = supervisor.upgrade((v1, v2)[number % 2])
        assert (ended["from_generation"], ended["to_generation"]) == (number, number + 1)
    running.answered(200, version=("v1", "v2")[upgrades % 2])
    for generation in range(1, upgrades + 1):
        assert supervisor.event("generation_ended", generation=generation)["exit"] == "exit status 0"
    running.reached(ENOUGH)
    found = running.stop()
    found.no_failures()
    assert min(found.versions.values()) > 100
    assert not supervisor.events("queue_reset", "generation_killed", "generation_down")
    assert supervisor.status()["queue_losses"] == {"migrated": 0, "reset": 0}
    assert [entry["result"] for entry in supervisor.history()] == ["committed"] * upgrades
