from typing import Any

from demo.chronicle import Chronicle


def event(name: str, at: float, **fields: str | float) -> dict[str, Any]:
    return {"event": name, "at": at, **fields}


def told(chronicle: Chronicle, *events: dict[str, Any]) -> list[str]:
    return [line.word for each in events if (line := chronicle.note(each))]


STARTED = event("generation_started", 1.1, generation=2, pid=77)
READY = event("generation_ready", 1.2, generation=2, after=0.1)
SHIFT = event("phase", 1.3, phase="probation")


def test_what_happens_before_the_first_hup_is_not_told() -> None:
    assert Chronicle("v1").note(STARTED) is None


def test_an_upgrade_is_told_in_its_order_and_its_instants_are_kept() -> None:
    chronicle = Chronicle("v1")
    chronicle.hup("v2", 1.0)
    committed = event("handoff_ended", 4.3, result="committed", from_generation=1)
    drained = event("generation_ended", 4.6, generation=1, exit="exit status 0")
    words = told(chronicle, STARTED, READY, SHIFT, committed, drained)
    assert words == ["started", "ready", "shift", "commit", "drained"]
    now = chronicle.now
    assert (now.started, now.ready, now.shift, now.commit, now.drained) == (1.1, 1.2, 1.3, 4.3, 4.6)
    assert chronicle.serving == "v2"


def test_a_release_that_dies_on_probation_is_told_and_the_old_one_stays() -> None:
    chronicle = Chronicle("v1")
    chronicle.hup("v2", 1.0)
    back = event("phase", 2.0, phase="return")
    ended = event("handoff_ended", 2.1, result="rolled back", reason="died in probation")
    assert told(chronicle, STARTED, READY, SHIFT, back, ended) == ["started", "ready", "shift", "back", "rolled back"]
    assert (chronicle.now.back, chronicle.now.refused, chronicle.serving) == (2.0, 2.1, "v1")


def test_a_reason_is_shortened() -> None:
    chronicle = Chronicle("v1", lambda text: text.replace("/long/", ""))
    chronicle.hup("v2", 1.0)
    line = chronicle.note(event("handoff_ended", 1.1, result="refused", reason="/long/v2 is not executable"))
    assert line is not None
    assert line.text == "v2: v2 is not executable; v1 serves on"
