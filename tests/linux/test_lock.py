from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.errors import HostError
from supervisor.linux.lock import Lock


def test_the_second_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    held = Lock(tmp_path / "lock", "service web")

    with pytest.raises(HostError, match=f"service web is already supervised by pid {os.getpid()}"):
        Lock(tmp_path / "lock", "service web")

    held.release()


def test_a_file_that_stayed_is_no_lock(tmp_path: Path) -> None:
    Lock(tmp_path / "lock", "service web").release()

    Lock(tmp_path / "lock", "service web").release()


def test_a_child_does_not_inherit_it(tmp_path: Path) -> None:
    held = Lock(tmp_path / "lock", "service web")

    assert not os.get_inheritable(held._fd)

    held.release()
