"""From looks to figures, by example and against the plain reading of what is meant."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.telemetry.queues import Queue, Wait

Looks = list[tuple[float, int]]


def seen(looks: Looks) -> Queue:
    queue = Queue()
    for at, length in looks:
        queue.look(at, length)
    return queue


@pytest.mark.parametrize(
    ("lengths", "deepest", "longest"),
    [
        ([], 0, Wait(0, 0)),
        ([0, 0, 0], 0, Wait(0, 0)),
        ([0, 1, 0], 1, Wait(0, 2)),
        ([0, 1, 1, 0], 1, Wait(1, 3)),
        ([0, 1, 5, 5, 0], 5, Wait(2, 4)),
        ([5, 5, 5], 5, Wait(2, 2)),
        ([0, 3, 2, 1, 0], 3, Wait(0, 2)),
        ([0, 3, 3, 2, 2, 2, 0], 3, Wait(2, 4)),
        ([0, 1, 1, 1, 0, 2, 2, 0], 2, Wait(2, 4)),
        ([0, 0, 4], 4, Wait(0, 1)),
    ],
)
def test_a_look_a_second(lengths: list[int], deepest: int, longest: Wait) -> None:
    queue = seen([(float(at), length) for at, length in enumerate(lengths)])
    assert (queue.deepest, queue.longest) == (deepest, longest)


def plainly(looks: Looks) -> Wait:
    """The longest of all stretches of looks between which nobody was seen to be accepted while somebody waited."""
    waits = [Wait(0.0, 0.0)]
    for first in range(len(looks)):
        for last in range(first, len(looks)):
            stretch = looks[first : last + 1]
            if all(length for _, length in stretch) and all(one[1] <= two[1] for one, two in pairwise(stretch)):
                before, after = looks[max(0, first - 1)][0], looks[min(len(looks) - 1, last + 1)][0]
                waits.append(Wait(stretch[-1][0] - stretch[0][0], after - before))
    return max(waits)


def test_a_look_that_takes_its_time_makes_no_wait_longer_than_it_was() -> None:
    queue = Queue()
    for at, length in ((0.0, 0), (1.0, 1), (2.0, 1), (3.0, 0)):
        queue.look(at, length, 0.25)
    assert queue.longest == Wait(2.0 - 1.25, 3.25 - 0.0)


pauses = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 4)), max_size=25)


@given(pauses)
def test_figures_are_what_they_are_said_to_be(steps: list[tuple[int, int]]) -> None:
    looks, at = [], 0
    for pause, length in steps:
        at += pause
        looks.append((float(at), length))
    queue = seen(looks)
    assert queue.deepest == max((length for _, length in looks), default=0)
    assert queue.longest == plainly(looks)


@given(pauses)
def test_no_wait_is_longer_than_its_bound_or_than_all_looks_together(steps: list[tuple[int, int]]) -> None:
    looks = [(float(sum(pause for pause, _ in steps[: at + 1])), length) for at, (_, length) in enumerate(steps)]
    longest = seen(looks).longest
    assert 0 <= longest.seen <= longest.at_most <= (looks[-1][0] - looks[0][0] if looks else 0)
    assert (longest == Wait(0, 0)) >= (not any(length for _, length in looks))
