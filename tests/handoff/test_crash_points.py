"""The supervisor is killed at a system call in the middle of an upgrade, under load, and the next one goes on.

Here are some of the points; `scripts/soak` walks all of them.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.crashing import Crash, needs_strace, upgraded
from tests.harness.load import Load
from tests.harness.supervisor import Supervisor

pytestmark = needs_strace

POINTS = {
    "write": (4, 7, 10, 13, 16, 20, 24),
    "fsync": (1, 3, 5, 7),
    "rename": (1, 2, 3),
    "bind": (1, 3),
    "listen": (1,),
    "setsockopt": (2, 6, 9),
    "shutdown": (1,),
    "close": (3, 20, 45, 70, 90),
    "vfork": (1,),
    "pidfd_open": (1,),
    "pidfd_send_signal": (1,),
    "waitid": (1,),
    "sendto": (2,),
}

WHILE_ONE_WAITS = {
    "write": (2, 3, 5, 7),
    "listen": (1,),
    "setsockopt": (1, 2, 3),
    "close": (1, 3, 8),
    "pidfd_send_signal": (1, 2),
}
"""Of an upgrade that finds its process there: it is told what to run, and let go."""


@pytest.mark.parametrize(
    ("call", "waits"), [*((each, False) for each in POINTS), *((each, True) for each in WHILE_ONE_WAITS)]
)
def test_no_request_is_lost_and_one_generation_serves(
    supervisor: Supervisor,
    load: Callable[..., Load],
    v1: Path,
    v2: Path,
    call: str,
    waits: bool,  # noqa: FBT001 - a parameter
) -> None:
    supervisor.configure(handoff={"probation": "100ms", "ahead": waits})
    supervisor.start(v1)
    running = load(supervisor, rate=300)
    died = 0
    for number in (WHILE_ONE_WAITS if waits else POINTS)[call]:
        waiting = supervisor.waiting() if waits else None
        serves = supervisor.get().version
        wanted = "v1" if serves == "v2" else "v2"
        supervisor.use(v1 if wanted == "v1" else v2)
        seen = upgraded(supervisor, call, number)
        sound(seen, serves, wanted)
        assert waiting is None or not seen.committed or supervisor.serving()["pid"] == waiting
        died += seen.died
        running.answered(50)
    assert died, "no point was met"
    running.stop().no_failures()
    assert supervisor.stop() == 0
    assert not supervisor.left_behind()


def sound(seen: Crash, served: str | None, wanted: str) -> None:
    """The history tells who serves: an upgrade that it does not know was never begun."""
    assert not seen.left, seen
    assert len(seen.ends) <= 1, seen
    assert seen.version == (wanted if seen.committed else served), seen
    assert seen.died or seen.committed, seen
