"""Who waits for what: nobody is forgotten, and nobody is told something else than what happened."""

import asyncio
from typing import Any

import pytest

from supervisor.control.desk import KEPT, Desk, Promise
from supervisor.core import effects
from supervisor.core.launch import Launch
from supervisor.core.model import Failure, Phase, Reason, Release, Request
from supervisor.core.outcome import Outcome, Result

RELEASE = Release(id="r", path="/r", device=1, inode=1, size=1, mtime_ns=1, launch=Launch(argv=("/r",)))


def outcome(result: Result, **more: Any) -> Outcome:  # noqa: ANN401 - fields of Outcome
    told_of: dict[str, Any] = {
        "handoff": 1,
        "request": Request(id="asked"),
        "result": result,
        "failure": None,
        "undone_by": None,
        "from_release": RELEASE,
        "to_release": RELEASE,
        "from_generation": 1,
        "to_generation": 2,
        "phases": ((Phase.VERIFY, 0.0),),
        "ended": 1.0,
    }
    nothing: dict[str, Any] = dict.fromkeys(Outcome.__struct_fields__)
    return Outcome(**nothing | told_of | more)


def told(what: effects.Effect, *aborts: str) -> dict[str, Any]:
    """What those who wait are told of one effect: one who asked, and those who asked to abort."""

    async def ask() -> dict[str, Any]:
        desk = Desk()
        waiting = {"asked": desk.wait("asked", "upgrade")}
        waiting |= {each: desk.wait(each, "abort") for each in aborts}
        desk.take((what,))
        return {name: each.result() for name, each in waiting.items() if each.done()}

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("result", "asked", "aborted"),
    [
        (Result.COMMITTED, "done", "refused"),
        (Result.ROLLED_BACK, "rolled back", "done"),
        (Result.REFUSED, "refused", "done"),
    ],
)
def test_all_who_wait_are_told(result: Result, asked: str, aborted: str) -> None:
    found = told(effects.Conclude(outcome(result)), "a", "b", "c")
    assert {name: each["result"] for name, each in found.items()} == {
        "asked": asked,
        "a": aborted,
        "b": aborted,
        "c": aborted,
    }


def test_an_abort_that_came_too_late_says_so() -> None:
    assert "committed before" in told(effects.Conclude(outcome(Result.COMMITTED)), "a")["a"]["reason"]


def test_the_reason_is_told() -> None:
    failure = Failure(Reason.DIED, "exit status 3")
    found = told(effects.Conclude(outcome(Result.ROLLED_BACK, failure=failure)))
    assert found["asked"]["reason"] == "died before it was ready: exit status 3"


def test_one_who_is_displaced_is_told_and_no_other() -> None:
    refused = effects.Refuse(request=Request(id="asked"), failure=Failure(Reason.DISPLACED))
    assert told(refused, "a") == {"asked": {"result": "refused", "reason": "displaced by a later request"}}


def test_at_the_end_all_are_told() -> None:
    assert {each["result"] for each in told(effects.End(), "a", "b").values()} == {"refused"}


def test_one_who_went_away_keeps_no_other_from_being_told() -> None:
    async def ask() -> str:
        desk = Desk()
        desk.wait("asked", "upgrade").cancel()
        abort = desk.wait("a", "abort")
        desk.take((effects.Conclude(outcome(Result.ROLLED_BACK)),))
        return str(abort.result()["result"])

    assert asyncio.run(ask()) == "done"


def test_one_who_asks_again_is_promised_the_same() -> None:
    async def ask() -> None:
        desk = Desk()
        first = desk.wait("asked", "upgrade")
        assert desk.known("asked") == Promise("upgrade", first)
        desk.take((effects.Conclude(outcome(Result.COMMITTED)),))
        known = desk.known("asked")
        assert known is not None
        assert known.answer.result()["result"] == "done"
        desk.take((effects.Conclude(outcome(Result.ROLLED_BACK)),))
        assert known.answer.result()["result"] == "done", "what was answered stays so"
        assert desk.known("another") is None

    asyncio.run(ask())


def test_the_last_hundred_are_remembered_and_all_that_wait() -> None:
    async def ask() -> None:
        desk = Desk()
        waits = desk.wait("waits", "upgrade")
        for number in range(KEPT + 1):
            answer = desk.wait(str(number), "upgrade")
            desk.take((effects.Conclude(outcome(Result.COMMITTED, request=Request(id=str(number)))),))
            assert answer.done()
        assert not waits.done()
        assert desk.known("0") is None
        assert all(desk.known(name) is not None for name in ("1", str(KEPT), "waits"))

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("result", "reason", "said"),
    [("committed", None, "done"), ("rolled back", "aborted", "rolled back"), ("refused", "bad release", "refused")],
)
def test_what_the_history_tells_is_told_in_the_same_form(result: str, reason: str | None, said: str) -> None:
    ended = {"from": {"generation": 1, "release": "r"}, "to": {"generation": 2, "release": "r"}, "handoff": 1}
    failure = None if reason is None else Failure(Reason(reason))
    live = told(effects.Conclude(outcome(Result(result), failure=failure)))["asked"]

    async def ask() -> Promise:
        desk = Desk()
        promise = desk.recall({"request": "asked", "ask": "rollback", "result": result, "reason": reason, **ended})
        assert desk.known("asked") == promise
        return promise

    recalled = asyncio.run(ask())
    assert recalled.what == "rollback"
    assert recalled.answer.result() == live
    assert live["result"] == said
