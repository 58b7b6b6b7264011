"""Stories that are to stay as they are told. GAPLESS_RETELL=1 writes them anew, to be read in the diff."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.core.trace import replayed

STORIES = sorted((Path(__file__).parent / "traces").glob("*.txt"))


@pytest.mark.parametrize("path", STORIES, ids=lambda path: str(path.stem))
def test_the_story_goes_as_it_is_told(path: Path) -> None:
    told = path.read_text()
    now = replayed(told)
    if os.environ.get("GAPLESS_RETELL"):
        path.write_text(now)
        return
    assert now == told


def test_a_changed_story_is_noticed() -> None:
    told = replayed("> begun a\n> spawned 1\n")
    assert replayed(told) == told
    assert replayed(told.replace("starting", "ready")) != told.replace("starting", "ready")


def test_there_are_stories() -> None:
    assert len(STORIES) >= 8
