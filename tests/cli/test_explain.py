"""`gapless explain` against real handoffs: what it says is what then happens."""

import json
import re
import time

from tests.cli.asked import on_terminal
from tests.harness import builds
from tests.harness.supervisor import Supervisor

SERVES = r"service: nothing waits: generation 1 serves \S+, since [0-9.]+ s$"


def test_at_rest_nothing_waits(supervisor: Supervisor) -> None:
    found = supervisor.command("explain")
    assert (found.returncode, found.stderr) == (0, "")
    assert re.match(SERVES, found.stdout.strip())
    assert supervisor.status()["waiting"] == []


def test_a_server_that_never_gets_ready(supervisor: Supervisor) -> None:
    supervisor.configure(ready={"timeout": "4s"})
    supervisor.use(builds.go_server("v3", "-never-ready"))
    supervisor.command("upgrade", "--no-wait")
    supervisor.event("phase", phase="ready")
    (wait,) = json.loads(supervisor.command("explain", "--json").stdout)
    told = supervisor.command("explain").stdout
    assert "generation 2 runs since" in told
    assert "has not said that it is ready; its readiness pipe is open; it accepts no connection yet on http" in told
    assert re.search(r"at \d\d:\d\d:\d\d \([0-9.]+ s\) it is given up and generation 1 serves on", told)
    assert wait["what"] == "handoff 1"
    assert wait["since"] <= time.time() < wait["until"]
    assert [each["until"] for each in supervisor.status()["waiting"]] == [wait["until"]]
    ended = supervisor.event("handoff_ended")
    assert (ended["result"], ended["reason"]) == (
        "rolled back",
        "not ready in time: nothing was heard of it in 4 s (ready.timeout)",
    )
    assert time.time() >= wait["until"]
    assert "generation 1 serves" in supervisor.command("explain").stdout


def test_probation_a_kept_request_and_a_drain(supervisor: Supervisor) -> None:
    supervisor.configure(handoff={"probation": "30s"})
    supervisor.command("upgrade", "--no-wait")
    supervisor.event("phase", phase="probation")
    supervisor.command("upgrade", "--no-wait")
    told = supervisor.command("explain").stdout.splitlines()
    assert len(told) == 2
    assert re.match(r"handoff 1: upgrade asked for by uid \d+ \(pid \d+\) .* if generation 2 dies, or by", told[0])
    assert re.match(r"request \w+: .* it is kept until handoff 1 has ended", told[1])
    with supervisor.ask("/slow?ms=30000"):
        supervisor.command("stop")
        stopping = supervisor.command("explain").stdout
        assert re.search(r"^supervisor pid \d+, up", supervisor.command("status").stdout, re.MULTILINE)
    assert "service: it is stopping" in stopping
    assert re.search(
        r"generation \d: it was sent TERM .* connections? (is|are) open on it; at .* it is sent KILL", stopping
    )


def test_it_is_wrapped_on_a_terminal(supervisor: Supervisor) -> None:
    supervisor.configure(handoff={"probation": "30s"})
    supervisor.command("upgrade", "--no-wait")
    supervisor.event("phase", phase="probation")
    status, written = on_terminal("explain", "--socket", str(supervisor.control), columns=80)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", written).splitlines()
    assert (status, len(lines) > 2, max(map(len, lines)) <= 80) == (0, True, True)
