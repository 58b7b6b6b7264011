"""What status says is going on, in words."""

import pytest

from supervisor.control.status import document, doing_now
from supervisor.core.model import Phase, State
from tests.core import starts
from tests.core.test_asking import BEFORE_THE_COMMIT


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_is_told(phase: Phase) -> None:
    for start in BEFORE_THE_COMMIT[phase]:
        text, _ = doing_now(start().state)
        assert text
        assert "{" not in text
        assert "None" not in text


def test_until_when_the_old_one_may_take_to_end_is_told() -> None:
    text, until = doing_now(starts.yielding().state)
    assert text == "waiting for generation 1 to end, before the new one is started"
    assert until == 30.0


def _doing(state: State, generation: int) -> str:
    told = document(state, lambda at: at, lambda _: (None, None, ""))["generations"]
    return str(next(each["doing"] for each in told if each["generation"] == generation))


def test_one_that_has_made_way_is_not_said_to_start_again() -> None:
    assert _doing(starts.alone_on_probation().state, 1) == "down (exit status 1), starts again if the handoff fails"
    assert _doing(starts.crashed().state, 1) == "down (exit status 1), starts again"
