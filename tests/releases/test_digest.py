"""A release's file is known by its digest, which is read at one go or in pieces."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from supervisor.core.launch import Launch
from supervisor.releases.digest import digest_of, pieces_of
from supervisor.releases.pin import pin

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor.core.model import Release

PIECE = 256 * 1024
SCRIPT = b"#!/bin/sh\n"


def release(path: Path, size: int) -> Release:
    path.write_bytes(SCRIPT + bytes(size - len(SCRIPT)))
    path.chmod(0o755)
    return pin(Launch(argv=(str(path),), directory="/", environment=()))


@pytest.mark.parametrize("size", [len(SCRIPT), PIECE - 1, PIECE, PIECE + 1, 4 * PIECE])
def test_in_pieces_it_is_the_same(tmp_path: Path, size: int) -> None:
    found = release(tmp_path / "server", size)
    *pieces, last = pieces_of(found)
    assert last == digest_of(found) == hashlib.sha256((tmp_path / "server").read_bytes()).hexdigest()
    assert pieces == [None] * -(-size // PIECE)  # so much of the file at a time, and no more


def test_of_a_file_that_has_changed_meanwhile_nothing_is_said(tmp_path: Path) -> None:
    found = release(tmp_path / "server", 2 * PIECE)
    pieces = pieces_of(found)
    assert next(pieces) is None
    os.utime(tmp_path / "server", ns=(1, 1))
    assert [*pieces] == [None, ""]


def test_of_a_file_that_is_gone_an_error_tells(tmp_path: Path) -> None:
    found = release(tmp_path / "server", PIECE)
    (tmp_path / "server").unlink()
    with pytest.raises(FileNotFoundError):
        next(pieces_of(found))
