"""How often something may happen."""

from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.allowance import Allowance


def taken(left: Allowance, times: list[float]) -> list[float]:
    """The times at which there was one to be had."""
    found = []
    for now in times:
        less = left.less_one(now)
        if less is not None:
            left = less
            found.append(now)
    return found


def test_so_many_at_once_and_then_one_for_each_while() -> None:
    left = Allowance(most=3, every=10.0)
    assert taken(left, [100.0] * 5) == [100.0] * 3
    assert taken(left, [100.0, 100.0, 100.0, 109.0, 110.0, 111.0, 120.0]) == [100.0, 100.0, 100.0, 110.0, 120.0]


@given(st.lists(st.floats(0, 1000), max_size=200).map(sorted), st.integers(1, 5), st.floats(0.5, 50))
def test_in_any_time_there_are_no_more_than_it_says(times: list[float], most: int, every: float) -> None:
    found = taken(Allowance(most=most, every=every), times)
    for number, first in enumerate(found):
        for last in found[number:]:
            assert sum(first <= at <= last for at in found) <= most + (last - first) / every + 1e-6
