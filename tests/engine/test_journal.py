from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import pytest

from supervisor.core import events
from supervisor.core.model import Launch, Release, State
from supervisor.core.policy import Policy
from supervisor.core.step import step
from supervisor.engine.journal import FORMAT, Journal


def state_of(number: int) -> State:
    """A state that can be told from others."""
    release = Release(
        id=f"r{number}", path="/srv/r", device=1, inode=2, size=3, mtime_ns=4, launch=Launch(argv=("/srv/r",))
    )
    after, _ = step(State(), events.Begun(at=0.0, release=release, policy=Policy()))
    return after


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path, "web", lambda: {"1": {"http": 4711}})


def release_in(found: dict[str, object] | None) -> object:
    assert found is not None
    return json.loads(json.dumps(found))["state"]["generations"][0]["release"]["id"]


def test_it_tells_what_a_successor_needs(journal: Journal) -> None:
    journal.write(state_of(1), synced=True)

    found = journal.read()

    assert found is not None
    assert found["format"] == FORMAT
    assert found["service"] == "web"
    assert found["boot"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert found["supervisor"]["pid"] == os.getpid()
    assert found["sockets"] == {"1": {"http": 4711}}
    assert found["state"]["generations"][0]["life"] == "spawning"


def test_the_last_line_counts(journal: Journal) -> None:
    journal.write(state_of(1), synced=True)
    journal.write(state_of(2), synced=False)

    assert release_in(journal.read()) == "r2"
    assert len(journal.path.read_bytes().splitlines()) == 2


def test_what_is_synced_replaces_the_file(journal: Journal) -> None:
    for number in range(1, 6):
        journal.write(state_of(number), synced=False)
    journal.write(state_of(6), synced=True)

    assert release_in(journal.read()) == "r6"
    assert len(journal.path.read_bytes().splitlines()) == 1


def test_a_line_that_was_cut_short_is_passed_over(journal: Journal) -> None:
    journal.write(state_of(1), synced=True)
    with journal.path.open("ab") as file:
        file.write(b'{"format": 1, "state": {"gener')

    assert release_in(journal.read()) == "r1"


def test_nobody_else_may_read_it(journal: Journal) -> None:
    journal.write(state_of(1), synced=True)

    assert journal.path.stat().st_mode & 0o777 == 0o600


def test_a_disk_that_refuses_is_a_fault_until_it_takes_again(journal: Journal) -> None:
    journal.write(state_of(1), synced=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are all that is wanted
    fillers = [os.dup(0) for _ in range(used)]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        journal.write(state_of(2), synced=True)
        assert journal.fault is not None
        assert "Too many open files" in journal.fault
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for filler in fillers:
            os.close(filler)
    assert release_in(journal.read()) == "r1"

    journal.write(state_of(3), synced=False)

    assert journal.fault is None
    assert release_in(journal.read()) == "r3"
