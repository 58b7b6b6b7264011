"""The supervisor is killed at a system call in the middle of an upgrade, and systemd starts the next one.

Here are some of the points; `scripts/soak points systemd` walks all of them.
"""

from tests.harness.crashing import needs_strace
from tests.systemd.conftest import Servers
from tests.systemd.crashing import upgraded
from tests.systemd.unit import Load, Unit

pytestmark = needs_strace

POINTS = {"write": (5, 19), "bind": (1,), "close": (60,), "sendmsg": (1, 5)}


def test_no_request_is_lost_and_one_generation_serves(unit: Unit, servers: Servers) -> None:
    unit.configure(probation="100ms")
    unit.release(servers.build("v1"))
    unit.start()
    died = 0
    with Load(servers.load(), unit.box, unit.port) as load:
        for call, number in ((call, number) for call, numbers in POINTS.items() for number in numbers):
            died += upgraded(unit, servers, call, number)
        assert load.end()["failed"] == 0
    assert died >= 4, "hardly a point was met"
