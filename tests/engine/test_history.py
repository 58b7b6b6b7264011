from __future__ import annotations

from pathlib import Path

from supervisor.engine import history
from supervisor.engine.history import History


def test_entries_come_back_in_order_and_outlive_the_writer(tmp_path: Path) -> None:
    written = History(tmp_path)
    for number in range(5):
        written.append({"handoff": number})

    assert [entry["handoff"] for entry in History(tmp_path).entries(3)] == [2, 3, 4]


def test_a_line_that_was_cut_short_is_passed_over(tmp_path: Path) -> None:
    History(tmp_path).append({"handoff": 1})
    with (tmp_path / "history.jsonl").open("ab") as file:
        file.write(b'{"hando')

    assert History(tmp_path).entries(10) == [{"handoff": 1}]


def test_it_does_not_grow_for_ever(tmp_path: Path) -> None:
    written = History(tmp_path)
    most = 2 * history._KEPT
    (tmp_path / "history.jsonl").write_text("".join(f'{{"handoff": {number}}}\n' for number in range(most - 1)))
    written = History(tmp_path)

    written.append({"handoff": most})

    kept = written.entries(most)
    assert len(kept) == history._KEPT
    assert kept[-1] == {"handoff": most}
