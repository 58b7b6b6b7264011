"""What the log says of the stories in traces/: nothing under way goes unsaid, and all of it can be written as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from supervisor.core import events
from supervisor.core.chronicle import Happening, chronicle, durations, ready_to_steered
from supervisor.core.effects import Conclude
from tests.core import trace
from tests.core.invariants import take, watched
from tests.core.starts import begun
from tests.core.test_traces import STORIES

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor.core import effects
    from supervisor.core.outcome import Outcome
    from tests.core.world import World


class Reader:
    """Tells a story as the log would."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.said: list[Happening] = []
        self.outcomes: list[Outcome] = []
        patch.setattr(trace, "watched", self._watched)

    def _watched(self, before: World, event: events.Event) -> tuple[World, tuple[effects.Effect, ...]]:
        after, wanted = watched(before, event)
        self.said.extend(chronicle(before.state, event, after.state, wanted))
        self.outcomes.extend(each.outcome for each in wanted if isinstance(each, Conclude))
        return after, wanted

    def count(self, name: str) -> int:
        return sum(each.name == name for each in self.said)


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Reader:
    return Reader(monkeypatch)


every_story = pytest.mark.parametrize("path", STORIES, ids=lambda path: str(path.stem))


@every_story
def test_every_handoff_that_begins_is_seen_to_end(path: Path, reader: Reader) -> None:
    trace.replayed(path.read_text())
    left = reader.count("leaving")
    assert reader.count("handoff_began") == reader.count("handoff_ended") + left
    assert all(json.dumps(each.fields) for each in reader.said)


@every_story
def test_the_phases_of_a_handoff_take_as_long_as_it_does(path: Path, reader: Reader) -> None:
    trace.replayed(path.read_text())
    for outcome in reader.outcomes:
        began = outcome.phases[0][1]
        assert sum(durations(outcome).values()) == pytest.approx(outcome.ended - began)


def _story(name: str) -> str:
    return next(path for path in STORIES if path.stem == name).read_text()


def test_what_hurts_is_said_gravely(reader: Reader) -> None:
    trace.replayed(_story("serving-dies"))
    grave = {each.name for each in reader.said if each.grave}
    assert {"generation_down", "generation_killed", "service_failing"} <= grave
    assert reader.count("restart_due") >= 3


def test_who_makes_way_for_another_has_not_died(reader: Reader) -> None:
    trace.replayed(_story("exclusive-good"))
    down = [each for each in reader.said if each.name == "generation_down"]
    assert [each.grave for each in down] == [False, False]
    assert not reader.count("restart_due")


def test_who_is_displaced_can_read_why(reader: Reader) -> None:
    trace.replayed(_story("second-request-displaced"))
    refused = next(each for each in reader.said if each.name == "request_refused")
    assert "displaced" in str(refused.fields["reason"])
    assert reader.count("request_kept") == 2


def test_a_handoff_that_was_undone_says_by_whom(reader: Reader) -> None:
    trace.replayed(_story("rollback-from-standby"))
    ended = next(each for each in reader.said if each.name == "handoff_ended")
    assert ended.fields["undone_by"] == "r2"


def test_the_time_from_ready_to_steered_is_known_only_of_who_spoke_and_was_steered_to(reader: Reader) -> None:
    trace.replayed(_story("good-upgrade"))
    trace.replayed(_story("crash-at-start"))
    assert ready_to_steered(reader.outcomes[0]) == 0.0
    assert ready_to_steered(reader.outcomes[1]) is None


def test_a_generation_that_ends_is_said_to(reader: Reader) -> None:
    trace.replayed(_story("stop"))
    assert reader.count("stopping") == 1
    assert reader.count("generation_ended") == 2


def test_what_a_phase_follows_from_is_told_before_it(reader: Reader) -> None:
    (path,) = [each for each in STORIES if each.stem == "good-upgrade"]
    trace.replayed(path.read_text())
    told = [(each.name, each.fields.get("phase") or each.fields.get("generation")) for each in reader.said]
    assert told.index(("generation_started", 2)) < told.index(("phase", "ready"))
    assert told.index(("generation_ready", 2)) < told.index(("phase", "shift"))


def test_a_word_is_told_before_what_follows_from_it() -> None:
    begins = begun()
    world = take(begins, next(each for each in begins.answers() if isinstance(each, events.Spawned)))
    both = events.Ready(at=2.0, generation=1, run=1, how="pipe", spoke_at=1.0)
    after, wanted = watched(world, both)
    told = [each.name for each in chronicle(world.state, both, after.state, wanted)]
    assert told.index("generation_spoke") < told.index("generation_ready")
