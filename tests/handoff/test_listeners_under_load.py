"""Upgrades one after another under load on every kind of listener: no request is lost."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.load import Found, Load
from tests.harness.supervisor import Supervisor

UPGRADES = 10
SHORT = "100ms"
"""Of probation: long enough for a request to meet it."""

Start = Callable[..., Load]
pytestmark = pytest.mark.timeout(200)


@pytest.mark.parametrize(
    "listen",
    [
        {"address": "unix:FOLDER/s"},
        {"address": "unix:@NAME"},
        {"address": "127.0.0.1:0", "mode": "shared"},
        {"address": "unix:FOLDER/s", "mode": "shared"},
        {"address": "udp://127.0.0.1:0"},
    ],
    ids=["unix", "abstract", "shared", "shared-unix", "udp"],
)
def test_one_after_another(supervisor: Supervisor, load: Start, v1: Path, v2: Path, listen: dict[str, str]) -> None:
    """FOLDER and NAME are the supervisor's own, so that runs side by side do not meet."""
    named = listen["address"].replace("FOLDER", str(supervisor.folder)).replace("NAME", supervisor.name)
    supervisor.configure(listen=[{**listen, "address": named}])
    start(supervisor, v1)
    upgraded(supervisor, load(supervisor), v1, v2)


def test_fifty_listeners(supervisor: Supervisor, load: Start, v1: Path, v2: Path) -> None:
    many = 50
    supervisor.configure(listen=[{"address": f"127.0.0.{number}:0"} for number in range(1, many + 1)])
    start(supervisor, v1)
    found = upgraded(supervisor, load(supervisor, supervisor.addresses, connections=2 * many), v1, v2)
    shares = [share["requests"] for share in found.summary["by_target"].values()]
    assert len(shares) == many
    assert min(shares) > 0.9 * max(shares)


def test_tls_in_the_server(supervisor: Supervisor, load: Start, v1: Path, v2: Path) -> None:
    """A handshake under way is no reason to lose a request."""
    supervisor.configure(service={"command": [str(supervisor.current), "-tls"]})
    start(supervisor, v1)
    upgraded(supervisor, load(supervisor, [f"https://{supervisor.address}"], rate=300), v1, v2)


def start(supervisor: Supervisor, v1: Path) -> None:
    supervisor.configure(handoff={"probation": SHORT}, drain={"limit": UPGRADES})
    supervisor.start(v1)


def upgraded(supervisor: Supervisor, running: Load, v1: Path, v2: Path) -> Found:
    """Upgrades back and forth, to the end of the last replaced one: none failed, and all ended by themselves."""
    for number in range(1, UPGRADES + 1):
        version = ("v1", "v2")[number % 2]
        supervisor.upgrade((v1, v2)[number % 2])
        running.answered(20, version=version)
    for generation in range(1, UPGRADES + 1):
        assert supervisor.event("generation_ended", generation=generation)["exit"] == "exit status 0"
    found = running.stop()
    found.no_failures()
    assert not supervisor.events("queue_reset", "generation_killed", "generation_down")
    assert supervisor.status()["queue_losses"] == {"migrated": 0, "reset": 0}
    return found
