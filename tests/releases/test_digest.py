"""A release's file is known by its digest, which is read at one go or at leisure."""

from __future__ import annotations

import hashlib
import os
from threading import Event
from typing import TYPE_CHECKING

import pytest

from supervisor.core.launch import Launch
from supervisor.releases.digest import digest_at_leisure, digest_of
from supervisor.releases.pin import pin

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from supervisor.core.model import Release

PIECE = 256 * 1024
SCRIPT = b"#!/bin/sh\n"


def release(path: Path, size: int) -> Release:
    path.write_bytes(SCRIPT + bytes(size - len(SCRIPT)))
    path.chmod(0o755)
    return pin(Launch(argv=(str(path),), directory="/", environment=()))


class Rests(Event):
    """Notes each rest instead of taking it; `meanwhile` is done in each."""

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.taken: list[float | None] = []
        self._meanwhile = meanwhile

    def wait(self, timeout: float | None = None) -> bool:
        self.taken.append(timeout)
        self._meanwhile()
        return self.is_set()


@pytest.mark.parametrize("size", [len(SCRIPT), PIECE - 1, PIECE, PIECE + 1, 4 * PIECE])
def test_at_leisure_it_is_the_same(tmp_path: Path, size: int) -> None:
    found, rests = release(tmp_path / "server", size), Rests()
    said = digest_at_leisure(found, 0.5, rests)
    assert said == digest_of(found) == hashlib.sha256((tmp_path / "server").read_bytes()).hexdigest()
    assert rests.taken == [0.5] * -(-size // PIECE)  # so much of the file at a time, and no more


def test_once_it_is_over_no_more_is_read(tmp_path: Path) -> None:
    rests = Rests()
    rests.set()
    assert not digest_at_leisure(release(tmp_path / "server", 3 * PIECE), 0.5, rests)
    assert len(rests.taken) == 1


def test_of_a_file_that_has_changed_meanwhile_nothing_is_said(tmp_path: Path) -> None:
    found = release(tmp_path / "server", 2 * PIECE)
    rests = Rests(lambda: os.utime(tmp_path / "server", ns=(1, 1)))
    assert not digest_at_leisure(found, 0.5, rests)
    assert len(rests.taken) == 2


def test_of_a_file_that_is_gone_an_error_tells(tmp_path: Path) -> None:
    found = release(tmp_path / "server", PIECE)
    (tmp_path / "server").unlink()
    with pytest.raises(FileNotFoundError):
        digest_at_leisure(found, 0.5, Rests())
