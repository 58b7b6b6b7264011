"""What keeps a supervisor from beginning: one line that says why, and nothing started."""

import os
import re
import socket
import stat
from pathlib import Path

import pytest

from tests.handoff.conftest import Make
from tests.harness import builds
from tests.harness.supervisor import Supervisor


def refusal(supervisor: Supervisor, status: int = 1) -> str:
    """Its one line."""
    supervisor.spawn()
    assert supervisor.ended() == status
    supervisor.output.close()
    assert not supervisor.output.events
    (line,) = supervisor.output.text
    assert line.startswith("gapless: ")
    return line


def test_a_second_one_on_the_same_service(make: Make, v1: Path) -> None:
    first, second = make(), make()
    first.start(v1)
    second.use(v1)
    second.tables["service"] |= {"name": first.name, "state_dir": str(first.folder / "state")}
    second.name = "none"  # what it leaves behind would be the first one's
    line = refusal(second)
    assert f"already supervised by pid {first.pid} " in line
    assert first.get().version == "v1"
    first.upgrade()


def test_an_address_in_use_names_the_holder(supervisor: Supervisor, v1: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        supervisor.configure(listen=[{"name": "free", "address": "127.0.0.1:0"}, {"name": "http", "address": address}])
        supervisor.use(v1)
        line = refusal(supervisor)
    assert address in line
    assert line.endswith(f"(pid {os.getpid()}): free it, or listen on another address")
    assert supervisor.connections.read_text() == ""


def test_another_supervisors_address_is_in_use(make: Make, v1: Path) -> None:
    """SO_REUSEPORT would let it in; it must not."""
    first, second = make(), make()
    first.start(v1)
    second.use(v1)
    second.configure(listen=[{"name": "http", "address": first.address}])
    assert re.search(r"in use by .*\(pid \d+\)", refusal(second))
    first.upgrade()


@pytest.mark.parametrize("kind", ["missing", "not executable", "wrong architecture", "cut short", "a folder"])
def test_a_release_that_cannot_be(supervisor: Supervisor, v1: Path, kind: str) -> None:
    program = supervisor.folder / "program"
    match kind:
        case "not executable":
            program.write_bytes(v1.read_bytes())
            program.chmod(stat.S_IRUSR)
        case "wrong architecture":
            program.symlink_to(builds.foreign_go_program())
        case "cut short":
            program.write_bytes(v1.read_bytes()[:10])
            program.chmod(0o755)
        case "a folder":
            program.mkdir()
        case _:
            pass
    supervisor.use(program)
    said = {
        "missing": f"{supervisor.current} leads to {program}, which is not there",
        "not executable": "is not executable",
        "wrong architecture": "is built for",
        "cut short": "is cut short",
        "a folder": "is not a file",
    }
    assert said[kind] in refusal(supervisor)


def test_a_configuration_that_cannot_be(supervisor: Supervisor, v1: Path) -> None:
    supervisor.use(v1)
    supervisor.configure(stop={"timeout": "never"})
    assert 'stop.timeout = "never"' in refusal(supervisor)
