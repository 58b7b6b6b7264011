"""What is told of each step, and when: after all that was to be done, and whatever goes wrong in that."""

import asyncio
from contextlib import suppress
from typing import Any

from supervisor.core import effects, events
from supervisor.core.launch import Launch
from supervisor.core.model import Process, Release, State
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


class Spawning(Nothing):
    """Makes what it is to make, and notes what it does in which order."""

    engine: Engine

    def __init__(self) -> None:
        self.done: list[str] = []

    def perform(self, effect: Any) -> None:  # noqa: ANN401 - any effect
        self.done.append(type(effect).__name__)
        if isinstance(effect, effects.Spawn):
            made = Process(pid=7, start_ticks=1)
            self.engine.post(
                events.Spawned(at=1.0, generation=effect.generation, run=effect.run, process=made, release=RELEASE)
            )

    def begin(self, watch: Any) -> Any:  # noqa: ANN401 - any watch
        self.done.append(f"began {type(watch).__name__}")
        return lambda: None

    async def begun(self) -> list[str]:
        """All that is done, and told, of a beginning."""
        loop = asyncio.get_running_loop()
        self.engine = Engine(
            State(policy=Policy()), loop, self, lambda step: self.done.append(f"told {type(step.event).__name__}")
        )
        self.engine.connect(self, self)
        with suppress(OSError):
            self.engine.post(events.Begun(at=1.0, release=RELEASE, policy=Policy()))
        await asyncio.sleep(0)
        return self.done


def test_who_was_made_is_let_go_before_anything_is_looked_at_and_that_before_it_is_told() -> None:
    done = asyncio.run(Spawning().begun())
    looks = [at for at, what in enumerate(done) if what.startswith("began")]
    assert looks, "it is waited for"
    assert done.index("LetGo") < min(looks)
    assert max(looks) < done.index("told Begun") < done.index("told Spawned")


def test_a_look_that_cannot_begin_keeps_nothing_from_being_told() -> None:
    class Blind(Spawning):
        def begin(self, watch: Any) -> Any:  # noqa: ANN401 - any watch
            raise OSError(f"no means for {watch}")

    done = asyncio.run(Blind().begun())
    assert [each for each in done if each.startswith("told")][:2] == ["told Begun", "told Spawned"]
