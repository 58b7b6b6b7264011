"""What is told of each step: a bug in the telling loses one step, and not all that follow."""

import asyncio
from typing import Any

from supervisor.core import events
from supervisor.core.launch import Launch
from supervisor.core.model import Release, State
from supervisor.core.policy import Policy
from supervisor.engine.loop import Engine, Step

RELEASE = Release(id="r", path="/r", device=1, inode=1, size=1, mtime_ns=1, launch=Launch(argv=("/r",)))


class Nothing:
    """Does, looks at and keeps nothing."""

    fault: str | None = None

    def perform(self, effect: Any) -> None:  # noqa: ANN401 - any effect
        """Not done."""

    def begin(self, watch: Any) -> Any:  # noqa: ANN401 - any watch
        return lambda: watch

    def write(self, state: State, *, synced: bool) -> None:
        """Not kept."""


def test_a_step_that_is_only_rehearsed_changes_nothing_and_is_told_to_nobody() -> None:
    told: list[Step] = []
    done: list[str] = []

    class Noting(Nothing):
        def perform(self, effect: Any) -> None:  # noqa: ANN401 - any effect
            done.append(f"performed {effect}")

        def write(self, state: State, *, synced: bool) -> None:
            done.append(f"kept {state}, synced: {synced}")

    async def run() -> None:
        state = State(policy=Policy())
        engine = Engine(state, asyncio.get_running_loop(), Noting(), told.append)
        engine.connect(Noting(), Noting())
        engine.rehearse(events.Begun(at=1.0, release=RELEASE, policy=Policy()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert engine.state is state

    asyncio.run(run())
    assert told == []
    assert done == []


def test_a_step_that_cannot_be_told_keeps_no_other_from_being_told() -> None:
    told: list[str] = []

    def observe(step: Step) -> None:
        told.append(type(step.event).__name__)
        if len(told) == 1:
            raise RuntimeError("a bug")

    async def run() -> None:
        engine = Engine(State(policy=Policy()), asyncio.get_running_loop(), Nothing(), observe)
        engine.connect(Nothing(), Nothing())
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        engine.post(events.Begun(at=1.0, release=RELEASE, policy=Policy()))
        engine.post(events.StopAsked(at=2.0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(run())
    assert told[:2] == ["Begun", "StopAsked"]
