"""How well the state is kept before what is done."""

from supervisor.core import events, recovery
from supervisor.core.effects import Attempt, Conclude, Effect, End, Kept, LetGo, Lifted
from supervisor.core.ending import Exit
from supervisor.core.model import Process, Reason, Request
from tests.core import starts
from tests.core.invariants import watched
from tests.core.world import EXCLUSIVE, RELEASES


def test_what_people_are_answered_is_on_disk_before_and_so_is_a_commit() -> None:
    assert {each for each in Effect.__subclasses__() if each.after is Kept.SYNCED} == {Attempt, Conclude, Lifted, End}


def test_what_changes_processes_is_known_to_the_next_supervisor_before() -> None:
    unknown = {each.__name__ for each in Effect.__subclasses__() if each.after is Kept.NOTHING}
    assert unknown == {"Spawn", "Steer", "Forget", "Refuse"}
    assert LetGo.after is Kept.WRITTEN


def test_an_exclusive_handoff_that_a_power_cut_ends_is_in_the_history() -> None:
    world = starts.exclusively()
    disk, about = world.state, {"at": 0.0, "generation": 2, "run": 1}
    for event in (
        events.Asked(at=0.0, request=Request(id="first")),
        events.Verified(at=0.0, handoff=1, release=RELEASES[1], policy=EXCLUSIVE),
        events.Exited(at=0.0, generation=1, run=1, exit=Exit(status=0)),
        events.Spawned(**about, process=Process(2, 1), release=RELEASES[1]),  # type: ignore[arg-type] # by name
    ):
        world, wanted = watched(world, event)
        if any(each.after is Kept.SYNCED for each in wanted):
            disk = world.state
    _, wanted = recovery.begun_anew(disk, EXCLUSIVE, told=0, at=9.0)
    (ended,) = [each.outcome for each in wanted if isinstance(each, Conclude)]
    assert ended.handoff == 1
    assert ended.failure is not None
    assert ended.failure.reason is Reason.INTERRUPTED
