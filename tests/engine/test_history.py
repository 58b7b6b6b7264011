from __future__ import annotations

from pathlib import Path

import pytest

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


def test_what_is_known_later_belongs_to_the_newest_of_that_number(tmp_path: Path) -> None:
    written = History(tmp_path)
    for number in (1, 2, 1):  # an older gapless began anew with each supervisor
        written.append({"handoff": number, "report": {"drain": None, "looks": 3}})
    written.amend(1, {"drain": {"seconds": 0.5}})
    written.append({"handoff": 2, "report": None})
    written.amend(7, {"drain": {"seconds": 9}})

    found = written.entries(10)

    assert [entry["handoff"] for entry in found] == [1, 2, 1, 2]
    assert found[0]["report"] == {"drain": None, "looks": 3}
    assert found[2]["report"] == {"drain": {"seconds": 0.5}, "looks": 3}
    assert written.entries(2) == found[2:]


def test_the_newest_number_is_known(tmp_path: Path) -> None:
    assert History(tmp_path).last_number() == 0
    History(tmp_path).append({"handoff": 41, "report": {}})
    History(tmp_path).amend(41, {"drain": None})
    assert History(tmp_path).last_number() == 41


def test_every_entry_counts_once_however_much_is_known_later(tmp_path: Path) -> None:
    written = History(tmp_path)
    for number in range(150):
        written.append({"handoff": number, "report": {}})
        written.amend(number, {"drain": number})

    found = written.entries(100)

    assert [(entry["handoff"], entry["report"]["drain"]) for entry in found] == [(n, n) for n in range(50, 150)]


def test_entries_of_an_older_version_are_read_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text('{"handoff": 1, "result": "committed"}\n')
    written = History(tmp_path)
    assert written.entries(1) == [{"handoff": 1, "result": "committed"}]
    written.amend(1, {"drain": {}})
    assert written.entries(1) == [{"handoff": 1, "result": "committed"}]


def test_long_reports_do_not_make_it_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_LARGEST", 20_000)
    written = History(tmp_path)
    for number in range(100):
        written.append({"handoff": number, "report": "x" * 1000})

    assert (tmp_path / "history.jsonl").stat().st_size <= 21_100
    assert [entry["handoff"] for entry in written.entries(5)] == [95, 96, 97, 98, 99]
