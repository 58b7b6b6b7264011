from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.core import events
from supervisor.core.launch import Launch
from supervisor.core.model import Release, State
from supervisor.core.policy import Policy
from supervisor.core.record import Quarantined, Record, Served
from supervisor.core.step import step
from supervisor.core.value import replace
from supervisor.engine import heritage
from supervisor.engine.heritage import Listened
from supervisor.engine.journal import Journal, for_elsewhere
from supervisor.linux.past import Entry

OTHERS: tuple[Any, ...] = (None, -1, "x", [], {}, [[1]], 1.5)

WHEREABOUTS = {
    "sets": {"1": {"http": 4711}},
    "listeners": [{"order": [(1, 4711, 9)], "anchor": None}],
    "pipes": {"1.1": 815},
}


def state_of(number: int) -> State:
    """A state that can be told from others."""
    release = Release(
        id=f"r{number}", path="/srv/r", device=1, inode=2, size=3, mtime_ns=4, launch=Launch(argv=("/srv/r",))
    )
    after, _ = step(State(), events.Begun(at=0.0, release=release, policy=Policy()))
    return after


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path, "web", lambda: WHEREABOUTS)


def release_in(folder: Path) -> str:
    found = heritage.read(folder)
    assert found is not None
    return found.state.generations[0].release.id


def test_it_tells_what_a_successor_needs(journal: Journal, tmp_path: Path) -> None:
    assert heritage.read(tmp_path) is None
    journal.write(state_of(1), synced=True)

    found = heritage.read(tmp_path)

    assert found is not None
    assert found.supervisor == os.getpid()
    assert found.same_boot
    assert found.sets == {1: {"http": 4711}}
    assert found.listeners == (Listened(order=(Entry(number=1, inode=4711, fd=9),), anchor=None),)
    assert found.pipes == {(1, 1): 815}
    assert found.state == state_of(1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "damaged: no line of it is whole"),
        ('{"format": 2, "sta', "damaged: no line of it is whole"),
        ("[]", "damaged: no line of it is whole"),
        ('{"format": 3}', "of a newer version (format 3)"),
        ('{"format": 1}', "of another version (format 1)"),
        ('{"format": 2}', "damaged: 'releases'"),
    ],
)
def test_what_cannot_be_gone_on_from_is_told_apart(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "journal.json").write_text(text)
    with pytest.raises(heritage.UnreadableError) as refused:
        heritage.read(tmp_path)
    assert said in str(refused.value)


def test_another_boot_is_told(journal: Journal, tmp_path: Path) -> None:
    journal.write(state_of(1), synced=True)
    document = json.loads(journal.path.read_text())
    journal.path.write_text(json.dumps({**document, "boot": "another"}))
    found = heritage.read(tmp_path)
    assert found is not None
    assert not found.same_boot


def test_whatever_is_changed_in_it_is_read_or_refused(journal: Journal, tmp_path: Path) -> None:
    """Each value in turn by others: never anything but an answer or the one error."""
    journal.write(state_of(1), synced=True)
    document = json.loads(journal.path.read_text())
    refused = 0
    for path in list(_paths(document)):
        for other in OTHERS:
            journal.path.write_text(json.dumps(_with(document, path, other)))
            try:
                heritage.read(tmp_path)
            except heritage.UnreadableError:
                refused += 1
    assert refused > 100


def _paths(value: object, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inside:
        yield (*at, key)
        yield from _paths(each, (*at, key))


def _with(value: Any, path: tuple[str | int, ...], other: object) -> Any:  # noqa: ANN401 - JSON
    if not path:
        return other
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _with(copy[path[0]], path[1:], other)
    return copy


def test_the_last_line_counts(journal: Journal, tmp_path: Path) -> None:
    journal.write(state_of(1), synced=True)
    journal.write(state_of(2), synced=False)

    assert release_in(tmp_path) == "r2"
    assert len(journal.path.read_bytes().splitlines()) == 2


def test_what_has_served_is_written_when_it_changes(journal: Journal, tmp_path: Path) -> None:
    state = state_of(1)
    served = tuple(Served(release=state_of(number).generations[0].release, policy=Policy()) for number in (7, 8))
    state = replace(state, record=Record(served=served[:1], recalled=True))
    journal.write(state, synced=True)
    journal.write(replace(state, last_handoff=1), synced=False)
    grown = replace(state, record=Record(served=served))
    journal.write(grown, synced=False)
    journal.write(replace(grown, last_handoff=2), synced=False)

    found = heritage.read(tmp_path)

    assert found is not None
    assert found.state == replace(grown, last_handoff=2)
    told = ["served" in json.loads(line) for line in journal.path.read_bytes().splitlines()]
    assert told == [True, False, True, False]


def test_a_journal_of_before_there_was_a_record_is_read(journal: Journal, tmp_path: Path) -> None:
    journal.write(state_of(1), synced=True)
    document = json.loads(journal.path.read_text())
    del document["served"], document["state"]["record"]
    journal.path.write_text(json.dumps(document))
    assert release_in(tmp_path) == "r1"


def test_what_is_synced_replaces_the_file(journal: Journal, tmp_path: Path) -> None:
    for number in range(1, 6):
        journal.write(state_of(number), synced=False)
    journal.write(state_of(6), synced=True)

    assert release_in(tmp_path) == "r6"
    assert len(journal.path.read_bytes().splitlines()) == 1


def test_a_line_that_was_cut_short_is_passed_over(journal: Journal, tmp_path: Path) -> None:
    journal.write(state_of(1), synced=True)
    with journal.path.open("ab") as file:
        file.write(b'{"format": 1, "state": {"gener')

    assert release_in(tmp_path) == "r1"


def test_nobody_else_may_read_it(journal: Journal) -> None:
    journal.write(state_of(1), synced=True)

    assert journal.path.stat().st_mode & 0o777 == 0o600


def test_a_disk_that_refuses_is_a_fault_until_it_takes_again(journal: Journal, tmp_path: Path) -> None:
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
    assert release_in(tmp_path) == "r1"

    journal.write(state_of(3), synced=False)

    assert journal.fault is None
    assert release_in(tmp_path) == "r3"


def test_one_for_another_host_speaks_of_no_process_and_of_the_same_times() -> None:
    """A quarantine ends when it was to, whatever the clock of that host shows."""
    release = state_of(1).generations[0].release
    held = Quarantined(release=release, because="it fails", since=50.0, until=150.0)
    served = Served(release=release, policy=Policy())
    was = State(previous=release, record=Record(served=(served,), quarantine=(held,)), last_handoff=3)
    found = heritage.understood(for_elsewhere(was, "web", epoch=1000.0), "it")
    assert found.state == was
    assert (found.same_boot, found.epoch) == (False, 1000.0)
    assert (found.sets, found.listeners, found.pipes) == ({}, (), {})
