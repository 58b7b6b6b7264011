import pytest

from demo.picture import Scale, axis, dots, lanes, names, scale_for

TEN = Scale(100.0, 110.0, 10)


def test_an_instant_has_its_column_and_the_end_has_none() -> None:
    assert [TEN.column(at) for at in (99.9, 100.0, 109.99, 110.0)] == [None, 0, 9, None]


def test_a_bar_is_as_high_as_its_share() -> None:
    full = [100.5] * 8 + [101.5] * 4 + [102.5]
    (lane,) = lanes(TEN, {"v1": full}, full=8, rows=1)
    assert lane.plain == "      v1 ▇▄▁"


def test_what_is_there_at_all_is_seen() -> None:
    (lane,) = lanes(TEN, {"v1": [103.5]}, full=1000, rows=1)
    assert lane.plain == "      v1    ▁"


def test_lanes_of_two_rows_leave_a_gap_to_the_one_above() -> None:
    high, low = lanes(TEN, {"v1": [100.5] * 99}, full=8, rows=2)
    assert (high.plain, low.plain) == ("         ▇", "      v1 █")


def test_signs_stand_below_their_instants() -> None:
    assert dots(TEN, "HUP", [100.0, 105.2, 105.4], "").plain == "     HUP ▲    ▲"


def test_a_name_without_room_is_left_out() -> None:
    row = names(TEN, "to", [(100.0, "v2"), (102.0, "v3"), (105.0, "v4"), (109.5, "v5")], "")
    assert row.plain == "      to v2   v4"


def test_the_axis_counts_from_the_origin() -> None:
    line, numbers = axis(Scale(98.0, 122.0, 48), unit=1.0, name="s", origin=100.0)
    assert line.plain.index("┴") == numbers.plain.index("0 s") == 9 + 4
    assert numbers.plain.split() == ["0", "s", "5", "10", "15", "20"]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    scale = scale_for(width, 0.0, 30.0)
    every = [n / 100 for n in range(3000)]
    lines = [*lanes(scale, {"v1": every}, full=100, rows=2), *axis(scale, unit=1.0, name="s", origin=0.0)]
    assert max(len(line.plain) for line in lines) <= width
