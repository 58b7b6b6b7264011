"""How well the state is kept before what is done."""

from supervisor.core.effects import Conclude, Effect, End, Kept, LetGo, Lifted


def test_what_people_are_answered_is_on_disk_before_and_so_is_a_commit() -> None:
    assert {each for each in Effect.__subclasses__() if each.after is Kept.SYNCED} == {Conclude, Lifted, End}


def test_what_changes_processes_is_known_to_the_next_supervisor_before() -> None:
    unknown = {each.__name__ for each in Effect.__subclasses__() if each.after is Kept.NOTHING}
    assert unknown == {"Spawn", "Steer", "Forget", "Refuse"}
    assert LetGo.after is Kept.WRITTEN
