"""HUP as people and scripts send it: many at once, and with configurations that cannot be."""

import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import proc
from tests.harness.supervisor import Supervisor

_PACE = threading.Event()
"""Never set: waiting for it is how ten signals are spread over a second."""


@pytest.mark.parametrize("probation", ["0s", "700ms"])
def test_ten_in_a_second_make_one_handoff_at_a_time_and_the_last_configuration_serves(
    supervisor: Supervisor, v1: Path, v2: Path, probation: str
) -> None:
    supervisor.configure(handoff={"probation": probation})
    supervisor.start(v1)
    mark = supervisor.mark()
    for number in range(1, 11):
        supervisor.use((v1, v2)[number % 2])
        supervisor.configure(service={"environment": {"ROUND": str(number)}})
        supervisor.signal(signal.SIGHUP)
        _PACE.wait(0.1)
    supervisor.use(v2)
    supervisor.configure(service={"environment": {"ROUND": "last"}})
    supervisor.signal(signal.SIGHUP)

    def last_serves() -> bool:
        """And by the last request: the one before may have come to read the same."""
        supervisor.status()  # whoever asks next is answered when the signals before this have been heeded
        ended, status = supervisor.events("handoff_ended", since=mark), supervisor.status()
        idle = status["handoff"] is None and status["pending"] is None
        return idle and bool(ended) and _round(supervisor, ended[-1]["to_generation"]) == "last"

    supervisor.output.until("the last configuration", last_serves)
    story = supervisor.events("handoff_began", "handoff_ended", since=mark)
    for began, ended in zip(story[::2], story[1::2], strict=True):
        assert (began["event"], ended["event"]) == ("handoff_began", "handoff_ended")
        assert began["handoff"] == ended["handoff"]
        assert ended["result"] == "committed"
    status = supervisor.status()
    assert (status["handoff"], status["pending"]) == (None, None)
    assert _round(supervisor, supervisor.serving()["generation"]) == "last"
    assert supervisor.get().version == "v2"
    assert supervisor.get().pid == supervisor.serving()["pid"]


def _round(supervisor: Supervisor, generation: int) -> str | None:
    try:
        return proc.environment(supervisor.pid_of(generation)).get("ROUND")
    except (FileNotFoundError, ProcessLookupError):
        return None


def _unreadable(supervisor: Supervisor) -> None:
    supervisor.path.unlink()
    supervisor.path.mkdir()


def _not_toml(supervisor: Supervisor) -> None:
    supervisor.path.write_text("[service\n")


def _unknown_key(supervisor: Supervisor) -> None:
    supervisor.configure(handoff={"probatoin": "1s"})


def _bad_value(supervisor: Supervisor) -> None:
    supervisor.configure(handoff={"probation": "soon"})


def _other_name(supervisor: Supervisor) -> None:
    supervisor.configure(service={"name": "another"})


def _other_control(supervisor: Supervisor) -> None:
    supervisor.configure(control={"socket": "/tmp/another.sock"})  # noqa: S108 - never made


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_unreadable, "gapless.toml"),
        (_not_toml, "is not TOML"),
        (_unknown_key, "did you mean probation?"),
        (_bad_value, 'handoff.probation = "soon": want a duration'),
        (_other_name, "service.name has changed: that takes a restart"),
        (_other_control, "control.socket has changed: that takes a restart"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_and_changes_nothing(
    supervisor: Supervisor, v1: Path, v2: Path, spoil: Callable[[Supervisor], None], said: str
) -> None:
    supervisor.start(v1)
    before = supervisor.get()
    good = supervisor.path.read_text()
    spoil(supervisor)
    ended = supervisor.hup(v2)
    assert ended["result"] == "refused"
    assert ended["reason"].startswith("invalid configuration: ")
    assert said in ended["reason"]
    assert supervisor.get() == before
    assert not supervisor.events("generation_started")[1:]
    if supervisor.path.is_dir():
        supervisor.path.rmdir()
    supervisor.path.write_text(good)
    supervisor.upgrade(v2)
    assert supervisor.get().version == "v2"


def test_a_name_of_no_character_set_is_refused(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.start(v1)
    odd = Path(os.fsdecode(os.fsencode(supervisor.folder) + b"/\xff"))
    odd.mkdir()
    refused = supervisor.hup(shutil.copy(v2, odd))
    assert refused["result"] == "refused"
    assert f"/\\xff/{v2.name} is no name in UTF-8" in refused["reason"]
    supervisor.upgrade(v2)
