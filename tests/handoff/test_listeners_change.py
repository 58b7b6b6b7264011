"""Listeners that a new configuration adds, changes and removes: with the handoff, and not before."""

import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.harness.network import free_ports
from tests.harness.supervisor import Answer, Supervisor, answer
from tests.linux.test_listeners import answers


def ask(port: int) -> Answer:
    made = socket.create_connection(("127.0.0.1", port), timeout=10)
    made.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    return answer(made)


def table(name: str, port: int, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - what TOML can say
    return {"name": name, "address": f"127.0.0.1:{port}", **options}


def listening(supervisor: Supervisor) -> dict[str, str]:
    return {each["name"]: each["address"] for each in supervisor.status()["listeners"]}


@pytest.fixture
def there(supervisor: Supervisor, v1: Path) -> list[int]:
    """Ports: kept, moved from, gone, moved to, added. The first three are configured, and v1 serves on them."""
    found = free_ports(5)
    supervisor.configure(
        listen=[table(name, port) for name, port in zip(("kept", "moved", "gone"), found, strict=False)]
    )
    supervisor.configure(handoff={"probation": "10s"})
    supervisor.start(v1)
    return found


def test_a_handoff_adds_changes_and_removes_and_a_rollback_brings_back(
    supervisor: Supervisor, there: list[int], v2: Path
) -> None:
    kept, old, gone, moved, added = there
    supervisor.configure(listen=[table("added", added), table("moved", moved), table("kept", kept, backlog=9)])
    assert not answers("127.0.0.1", moved)
    supervisor.use(v2)
    mark = supervisor.signal(signal.SIGHUP)
    supervisor.event("phase", mark, phase="probation")
    assert [ask(port).version for port in (kept, moved, added)] == ["v2"] * 3
    assert [ask(port).version for port in (old, gone)] == ["v1"] * 2
    back = supervisor.command("rollback")  # within probation
    assert back.returncode == 0, back.stderr
    assert [ask(port).version for port in (kept, old, gone)] == ["v1"] * 3
    supervisor.event("listening_ended", mark, name="added")
    supervisor.event("listening_ended", mark, name="moved", address=f"127.0.0.1:{moved}")
    assert not answers("127.0.0.1", added)
    supervisor.configure(handoff={"probation": "0s"})
    supervisor.upgrade(v2)
    for name, port in (("moved", old), ("gone", gone)):
        supervisor.event("listening_ended", mark, name=name, address=f"127.0.0.1:{port}")
    assert not answers("127.0.0.1", gone)
    assert listening(supervisor) == {
        "added": f"127.0.0.1:{added}", "moved": f"127.0.0.1:{moved}", "kept": f"127.0.0.1:{kept}"
    }  # fmt: skip
    assert supervisor.command("rollback").returncode == 0
    assert [ask(port).version for port in (kept, old, gone)] == ["v1"] * 3
    supervisor.event("listening_ended", mark, name="added", address=f"127.0.0.1:{added}")


def test_one_that_is_undone_leaves_all_as_it_was(supervisor: Supervisor, there: list[int]) -> None:
    kept, old, gone, moved, added = there
    before = listening(supervisor)
    supervisor.configure(listen=[table("added", added), table("moved", moved), table("kept", kept)])
    assert supervisor.hup("/bin/false")["result"] == "rolled back"
    assert [ask(port).version for port in (kept, old, gone)] == ["v1"] * 3
    supervisor.event("listening_ended", name="added")
    assert not any(answers("127.0.0.1", port) for port in (moved, added))
    assert listening(supervisor) == before


def test_an_added_address_that_somebody_has_refuses_the_handoff(supervisor: Supervisor, there: list[int]) -> None:
    kept, *_, added = there
    with socket.create_server(("127.0.0.1", added)):
        supervisor.configure(listen=[table("kept", kept), table("added", added)])
        ended = supervisor.hup()
    assert ended["result"] == "rolled back"
    assert f"127.0.0.1:{added} is in use by" in ended["reason"]
    assert ask(kept).version == "v1"


def test_options_are_for_the_new_generation(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.configure(ready={"method": "accept"})
    supervisor.start(v1)
    options = {"defer_accept": "5s", "keep_alive": True, "keep_alive_time": "7s", "no_delay": True, "device": "lo"}
    options.pop("device")
    supervisor.configure(listen=[{"name": "http", "address": "127.0.0.1:0", "backlog": 77, **options}])
    supervisor.upgrade(v2)
    assert supervisor.get().version == "v2"


def test_fifty_listeners(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.configure(listen=[{"name": f"l{at}", "address": "127.0.0.1:0"} for at in range(50)])
    supervisor.start(v1)
    where = [int(address.rpartition(":")[2]) for address in listening(supervisor).values()]
    supervisor.upgrade(v2)
    assert [ask(port).version for port in where] == ["v2"] * 50
    supervisor.event("generation_ended", generation=1)
    supervisor.upgrade(v1)
    assert [ask(port).version for port in where] == ["v1"] * 50
