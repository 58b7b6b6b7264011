"""docs/handoff.md shows the tables as they are."""

from __future__ import annotations

import pytest

from supervisor.core.model import Life, Phase
from tests.core.diagram import PAGE, handoff_diagram, life_diagram, with_diagrams

pytestmark = pytest.mark.xdist_group("diagrams")
"""In one worker, so that they are drawn once."""


def test_the_page_shows_the_tables_as_they_are() -> None:
    page = PAGE.read_text()
    assert with_diagrams(page) == page, "run scripts/draw-handoff"


def test_a_page_that_has_drifted_is_noticed() -> None:
    page = PAGE.read_text()
    assert with_diagrams(page.replace("verify --> start", "verify --> shift")) == page


def test_the_diagrams_show_every_phase_and_every_life() -> None:
    assert all(f" {phase}" in handoff_diagram() for phase in Phase)
    assert all(f" {life}" in life_diagram() for life in Life)


def test_the_page_explains_every_phase_and_every_life() -> None:
    page = PAGE.read_text()
    assert all(f"**{each}**" in page for each in (*Phase, *Life)), "a phase or a life is not explained"
