"""Who is below whom."""

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from supervisor.linux.process import descendants_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def parent() -> "Iterator[tuple[int, int]]":
    """A child of ours, and its own."""
    command = ["/bin/sh", "-c", "sleep 1000 & echo $!; read end; kill $!"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as made:
        assert made.stdout is not None
        assert made.stdin is not None
        try:
            yield made.pid, int(made.stdout.readline())
        finally:
            made.stdin.close()


def test_children_are_found_and_theirs() -> None:
    with parent() as (child, grandchild):
        assert {child, grandchild} <= descendants_of(os.getpid())
        assert descendants_of(child) == {grandchild}


def test_who_is_left_out_is_left_out_with_all_below() -> None:
    with parent() as (one, below_one), parent() as (other, below_other):
        found = descendants_of(os.getpid(), but={one})
        assert {other, below_other} <= found
        assert not {one, below_one} & found
