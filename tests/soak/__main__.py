"""`scripts/soak points [store | systemd]`: every crash point. `scripts/soak MINUTES`: upgrades, crashes and reexecs.

Both are under load. `scripts/soak mutations`: 100,000 damaged programs, looked at as preflight does.

Ends with status 1 at the first thing that is not as it should be, and says what that was.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tests.handoff.test_crash_points import sound
from tests.handoff.test_store import served_from, whole
from tests.harness import builds
from tests.harness.crashing import CALLS, upgraded
from tests.harness.load import Load
from tests.harness.proc import status
from tests.harness.supervisor import Supervisor
from tests.releases import mutations
from tests.systemd import crashing
from tests.systemd import unit as systemd
from tests.systemd.conftest import Servers, installed
from tests.systemd.unit import Unit

if TYPE_CHECKING:
    from collections.abc import Callable

USAGE = "usage: scripts/soak points [store | systemd] | scripts/soak mutations | scripts/soak MINUTES"
RATE = 300
SETTLED = 50
"""Requests between two things that happen."""
MUTATIONS = 100_000
LONGEST = 2.0
"""Seconds of a processor for one file."""
MOST_GROWN = 64 << 10
"""KiB, of who has looked at all of them."""


def main(words: list[str]) -> int:
    """Run one of the two; the exit status."""
    if words == ["points"]:
        points()
    elif words == ["mutations"]:
        mutated_programs()
    elif words == ["points", "store"]:
        points_in_a_store()
    elif words == ["points", "systemd"]:
        points_under_systemd()
    elif len(words) == 1 and words[0].isdecimal():
        at_random(minutes=int(words[0]), seed=int(os.environ.get("SEED", str(time.time_ns() % 10**6))))
    else:
        print(USAGE, file=sys.stderr)
        return 2
    return 0


def points() -> None:
    """Each system call of each kind in the course of an upgrade, of a file that was put in place.

    With a process that waits for it, and without.
    """
    for ahead in (True, False):
        _points(ahead=ahead)


def _points(*, ahead: bool) -> None:
    def died(call: str, number: int) -> bool:
        if ahead:
            supervisor.waiting()
        serves, wanted = _next(supervisor)
        seen = upgraded(supervisor, call, number)
        sound(seen, serves, wanted)
        return seen.died

    with closing(_supervisor(ahead=ahead)) as supervisor:
        _walk(supervisor, died)


def points_in_a_store() -> None:
    """The same for `gapless upgrade V`: one version serves afterwards, and `current` leads to it."""
    with closing(Supervisor(Path(tempfile.mkdtemp(prefix="gapless-soak.")))) as supervisor:
        supervisor.configure(handoff={"probation": "100ms"})
        layout = served_from(supervisor, builds.go_server("v1"), builds.go_server("v2"))
        supervisor.start()
        _walk(supervisor, lambda call, number: whole(supervisor, layout, call, number).died)


def _walk(supervisor: Supervisor, died: Callable[[str, int], bool]) -> None:
    """Under load, until an upgrade passes unharmed by each call."""
    tried = 0
    load = Load(supervisor.network, [supervisor.address], rate=RATE)
    for call in CALLS:
        number = 1
        while died(call, number):
            load.answered(SETTLED)
            number += 1
        print(f"{call}: {number - 1} points", flush=True)
        tried += number - 1
    found = load.stop()
    found.no_failures()
    assert supervisor.stop() == 0
    print(f"{tried} crash points, {found.requests:,} requests, 0 failed")


def points_under_systemd() -> None:
    """The same where systemd starts the next supervisor, and has kept the sockets. As root, with systemd installed."""
    tried = 0
    with tempfile.TemporaryDirectory(prefix="gapless-soak.") as folder:
        share = Path(folder, "share")
        share.mkdir(mode=0o755)
        with installed(share) as box, Unit(box, "soak", 8000, share / "soak") as unit:
            servers = Servers(share / "servers")
            unit.configure(probation="100ms")
            unit.release(servers.build("v1"))
            unit.start()
            with systemd.Load(servers.load(), box, unit.port) as load:
                for call in CALLS:
                    number = 1
                    while crashing.upgraded(unit, servers, call, number):
                        number += 1
                    print(f"{call}: {number - 1} points", flush=True)
                    tried += number - 1
                found = load.end()
            assert found["failed"] == 0, found["failures"]
            box.systemctl("stop", unit.unit)
            assert unit.processes() == []
    print(f"{tried} crash points, {found['requests']:,} requests, 0 failed")


def mutated_programs() -> None:
    """No crash, no hang, and bounded memory, whatever a file says."""
    seed = int(os.environ.get("SEED", str(time.time_ns() % 10**6)))
    print(f"seed {seed}", flush=True)
    dice, slowest, most_read = random.Random(seed), 0.0, 0  # noqa: S311 - no secret
    mutations.survives(mutations.mutated(dice))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(MUTATIONS):
        content = mutations.mutated(dice)
        began = time.process_time()
        most_read = max(most_read, mutations.survives(content))
        slowest = max(slowest, time.process_time() - began)
        assert slowest < LONGEST, f"{len(content)} bytes took {slowest:.1f} s"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < MOST_GROWN, f"memory has grown by {grown} KiB"
    print(
        f"{MUTATIONS:,} programs, {slowest:.3f} s for the slowest, {most_read:,} bytes read at most, {grown} KiB more"
    )


def at_random(*, minutes: int, seed: int) -> None:
    """What operators and fate do, in any order."""
    print(f"seed {seed}", flush=True)
    dice = random.Random(seed)  # noqa: S311 - no secret
    ends, done = (
        time.monotonic() + 60 * minutes,
        dict.fromkeys(("upgrade", "crash", "reexec", "crash in an upgrade"), 0),
    )
    with closing(_supervisor()) as supervisor:
        load = Load(supervisor.network, [supervisor.address], rate=RATE)
        memory = []
        while time.monotonic() < ends:
            what = dice.choice(list(done))
            done[what] += 1
            _do(supervisor, what, dice)
            load.answered(SETTLED)
            memory.append(int(status(supervisor.pid)["VmRSS"].split()[0]))
        found = load.stop()
        found.no_failures()
        assert supervisor.stop() == 0
        assert not supervisor.left_behind()
    print(f"{done}, {found.requests:,} requests, 0 failed; memory of the supervisor {min(memory)} to {max(memory)} KiB")


def _do(supervisor: Supervisor, what: str, dice: random.Random) -> None:
    mark = supervisor.mark()
    match what:
        case "upgrade":
            _next(supervisor)
            supervisor.upgrade()
        case "crash":
            supervisor.taken_over()
        case "reexec":
            supervisor.signal(signal.SIGUSR2)
            supervisor.event("taken_over", mark)
        case _:
            serves, wanted = _next(supervisor)
            sound(upgraded(supervisor, dice.choice(CALLS), dice.randrange(1, 30)), serves, wanted)
    supervisor.settled(mark)


def _supervisor(*, ahead: bool = True) -> Supervisor:
    made = Supervisor(Path(tempfile.mkdtemp(prefix="gapless-soak.")))
    made.configure(handoff={"probation": "100ms", "ahead": ahead})
    made.start(builds.go_server("v1"))
    return made


def _next(supervisor: Supervisor) -> tuple[str | None, str]:
    """Put the other release in place; who serves, and who is to."""
    serves = supervisor.get().version
    wanted = "v1" if serves == "v2" else "v2"
    supervisor.use(builds.go_server(wanted))
    return serves, wanted


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
