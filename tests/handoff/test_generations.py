"""Three generations at once: a long drain holds up no upgrade, and is held up by none."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

from tests.harness import proc
from tests.harness.load import Load
from tests.harness.supervisor import Supervisor, answer


def test_a_long_drain_meets_two_upgrades(networked: Supervisor, load: Callable[..., Load], v1: Path, v2: Path) -> None:
    supervisor = networked
    supervisor.configure(handoff={"probation": "200ms"}, drain={"timeout": "60s"})
    supervisor.start(v1)
    running = load(supervisor)
    running.answered(100)
    slow = [supervisor.ask("/slow?ms=4500")]
    supervisor.upgrade(v2)
    supervisor.event("generation_told", generation=1)
    slow.append(supervisor.ask("/slow?ms=3500"))
    supervisor.upgrade(v1)
    supervisor.event("generation_told", generation=2)
    roles = {each["generation"]: each["role"] for each in supervisor.status()["generations"]}
    assert roles == {1: "draining", 2: "draining", 3: "serving"}
    supervisor.upgrade(v2)
    running.answered(500, version="v2")
    answers = [answer(each) for each in slow]
    assert [(each.status, each.version) for each in answers] == [(200, "v1"), (200, "v2")]
    assert [each.body for each in answers] == ["waited 4.5s\n", "waited 3.5s\n"]
    for generation in (1, 2, 3):
        assert supervisor.event("generation_ended", generation=generation)["exit"] == "exit status 0"
    running.stop().no_failures()


def test_the_cap_on_draining_generations_ends_the_oldest_first(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.configure(drain={"limit": 2, "timeout": "60s"})
    supervisor.start(v1)
    slow = []
    for number in range(3):
        slow.append(supervisor.ask("/slow?ms=350000"))
        supervisor.upgrade((v2, v1)[number % 2])
    ended = supervisor.event("generation_ended")
    assert (ended["generation"], ended["exit"]) == (1, "killed by SIGKILL")
    assert {each["generation"] for each in supervisor.status()["generations"]} == {2, 3, 4}
    for each in slow:
        each.close()


def test_the_old_one_is_told_as_soon_as_nobody_waits_in_its_queue(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.configure(handoff={"probation": "0s"}, drain={"timeout": "60s"})
    supervisor.start(v1)
    supervisor.upgrade(v2)
    supervisor.event("generation_told", generation=1, timeout=15)  # half of the drain's time is for a queue that stays


def test_who_waits_in_the_old_ones_queue_is_served_before_it_is_told(networked: Supervisor, v1: Path, v2: Path) -> None:
    """Frozen, it accepts nobody: what waits is neither moved, which could lose it, nor reset, nor cut off."""
    supervisor = networked
    supervisor.configure(handoff={"probation": "100ms"}, drain={"timeout": "80s"})
    supervisor.start(v1)
    old = supervisor.pid_of(1)
    proc.stop(old)
    waiting = [supervisor.ask() for _ in range(20)]
    supervisor.upgrade(v2)
    assert supervisor.get().version == "v2"
    assert not supervisor.events("generation_told")
    os.kill(old, signal.SIGCONT)
    assert [answer(each).version for each in waiting] == ["v1"] * 20
    assert supervisor.event("generation_ended", generation=1)["exit"] == "exit status 0"
    assert supervisor.status()["queue_losses"] == {"migrated": 0, "reset": 0}
