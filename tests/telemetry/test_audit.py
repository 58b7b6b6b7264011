"""The audit log as a file: lines that are whole, a disk that is full, and no growth without end."""

import asyncio
import json
import os
import resource
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from supervisor.telemetry import audit
from supervisor.telemetry.audit import KEPT, NAME, Audit


def written(folder: Path, *does: Callable[[Audit], None], largest: int = audit.LARGEST) -> None:
    """On a loop, as the daemon has one, to its end."""

    async def run() -> None:
        made = Audit(folder, largest=largest)
        for each in does:
            each(made)
        if made._syncing is not None:
            await made._syncing
        made.close()

    asyncio.run(run())


def line(number: int) -> Callable[[Audit], None]:
    return lambda made: made.write("asked", 1764.25, number=number, login=None)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(each) for each in path.read_text().splitlines()]


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may have more bytes than that: write(2) does what still fits, and then fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_each_is_a_line_with_its_time_and_nothing_that_is_not_known(tmp_path: Path) -> None:
    written(tmp_path, line(1), line(2))
    at = "1970-01-01T00:29:24.250000Z"
    assert lines(tmp_path / NAME) == [{"at": at, "event": "asked", "number": number} for number in (1, 2)]
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


def test_it_is_on_disk_a_moment_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []

    def fsync(fd: int) -> None:
        synced.append((str(Path(f"/proc/self/fd/{fd}").readlink()), os.fstat(fd).st_size))

    monkeypatch.setattr(os, "fsync", fsync)
    written(tmp_path, line(1), line(2))
    path = tmp_path / NAME
    assert synced[-1] == (str(path), path.stat().st_size)


def test_no_thread_is_in_the_way_of_the_command_that_a_line_tells_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has some turns of the loop: a HUP takes two until the server is started."""
    threads: list[str] = []

    async def in_thread(does: Callable[[], None]) -> None:
        threads.append("synced")
        does()

    monkeypatch.setattr(audit, "in_thread", in_thread)

    async def run() -> None:
        made = Audit(tmp_path)
        line(1)(made)
        for _ in range(10):
            await asyncio.sleep(0)
        assert threads == []
        assert made._syncing is not None
        await made._syncing
        assert threads == ["synced"]

    asyncio.run(run())


def test_what_was_there_is_never_changed(tmp_path: Path) -> None:
    path = tmp_path / NAME
    written(tmp_path, line(1))
    before = path.read_bytes()
    written(tmp_path, line(2))
    assert path.read_bytes().startswith(before)
    assert len(lines(path)) == 2


@pytest.mark.parametrize("fits", [0, 1, 40])
def test_a_full_disk_is_told_once_and_counted(tmp_path: Path, fits: int) -> None:
    """However much of a line it still took: the next one begins anew."""
    path = tmp_path / NAME
    written(tmp_path, line(1))
    made = path.stat().st_size

    def full(kept: Audit) -> None:
        with room_for(made + fits):
            line(2)(kept)
            line(3)(kept)

    with capture_logs() as told:
        written(tmp_path, full, line(4), line(5))
    assert [each["event"] for each in told] == ["audit_failed"] * (1 + (fits > 0)), "once for each reason"
    found = path.read_text().splitlines()
    whole = [json.loads(each) for each in found if each.endswith("}")]
    assert [(each["number"], each.get("lost")) for each in whole] == [(1, None), (4, 2), (5, None)]
    assert len(found) == len(whole) + (fits > 0)


def test_a_line_that_a_crash_cut_short_is_no_part_of_the_next(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_text('{"at": "1970')
    written(tmp_path, line(1))
    assert json.loads(path.read_text().splitlines()[1])["number"] == 1


def test_a_device_that_is_always_full_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / NAME).symlink_to("/dev/full")
    with capture_logs() as told:
        written(tmp_path, line(1), line(2))
    assert [each["event"] for each in told] == ["audit_failed"]


def test_it_is_put_aside_when_it_is_large_and_the_oldest_goes(tmp_path: Path) -> None:
    size = len(json.dumps({"at": "1970-01-01T00:29:24.250000Z", "event": "asked", "number": 100})) + 1
    count = 2 * (KEPT + 3)
    written(tmp_path, *(line(100 + number) for number in range(count)), largest=2 * size)
    files = [tmp_path / f"{NAME}.{number}" for number in range(KEPT, 0, -1)]
    assert sorted(tmp_path.iterdir()) == sorted([*files, tmp_path / NAME])
    kept = [each["number"] for file in (*files, tmp_path / NAME) for each in lines(file)]
    assert kept == list(range(100 + count - 2 * (KEPT + 1), 100 + count))


def test_where_it_cannot_be_put_aside_it_grows_on(tmp_path: Path) -> None:
    for number in (KEPT - 1, KEPT):
        (tmp_path / f"{NAME}.{number}" / "in the way").mkdir(parents=True)
    with capture_logs() as told:
        written(tmp_path, line(1), line(2), line(3), largest=100)
    assert [each["number"] for each in lines(tmp_path / NAME)] == [1, 2, 3]
    assert "cannot be put aside: Directory not empty" in told[0]["reason"]
