"""The supervisor replaces itself: the same process, the same children and sockets, other code."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import proc
from tests.harness.builds import ROOT
from tests.harness.load import Load
from tests.harness.output import DEADLINE
from tests.harness.supervisor import Supervisor


def test_it_goes_on_in_its_own_process(supervisor: Supervisor, load: Callable[..., Load], v1: Path, v2: Path) -> None:
    supervisor.start(v1)
    running = load(supervisor, rate=500)
    for round_ in range(3):
        mark = supervisor.signal(signal.SIGUSR2)
        over = supervisor.event("taken_over", mark)
        assert (over["alive"], over["gone"]) == ([round_ * 2 + 1], [])
        supervisor.event("reexec", mark)
        assert supervisor.status()["pid"] == supervisor.pid
        supervisor.upgrade(v2)
        supervisor.upgrade(v1)
    running.answered(200)
    running.stop().no_failures()
    assert supervisor.stop() == 0
    assert not supervisor.left_behind()


def test_its_children_stay_its_own(supervisor: Supervisor, v1: Path) -> None:
    """How they end is known, and what they leave behind is swept."""
    supervisor.start(v1)
    supervisor.event("taken_over", supervisor.signal(signal.SIGUSR2))
    mark = supervisor.mark()
    os.kill(supervisor.pid_of(1), signal.SIGKILL)
    assert supervisor.event("generation_down", mark)["exit"] == "killed by SIGKILL"
    supervisor.event("generation_ready", mark)


def test_the_command_waits_for_the_new_one(supervisor: Supervisor, v1: Path) -> None:
    supervisor.start(v1)
    began = supervisor.status()["began"]
    said = supervisor.command("reexec")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.startswith("done: gapless ")
    assert supervisor.status()["began"] > began


def test_in_probation_the_handoff_goes_on(
    supervisor: Supervisor, load: Callable[..., Load], v1: Path, v2: Path
) -> None:
    supervisor.configure(handoff={"probation": "6s"})
    supervisor.start(v1)
    running = load(supervisor, rate=500)
    supervisor.use(v2)
    mark = supervisor.signal(signal.SIGHUP)
    supervisor.event("phase", mark, phase="probation")
    supervisor.signal(signal.SIGUSR2)
    assert supervisor.event("taken_over", mark)["alive"] == [1, 2]
    assert supervisor.event("handoff_ended", mark)["result"] == "committed"
    running.answered(200, "v2")
    running.stop().no_failures()


def test_signals_in_between_are_kept(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.start(v1)
    supervisor.use(v2)
    mark = supervisor.signal(signal.SIGUSR2)
    supervisor.event("reexec", mark)
    for _ in range(5):
        supervisor.signal(signal.SIGHUP)
    assert supervisor.event("handoff_ended", mark)["result"] == "committed"
    assert supervisor.get().version == "v2"


def test_file_descriptors_neither_grow_nor_leak(supervisor: Supervisor, v1: Path) -> None:
    supervisor.start(v1)
    counts = []
    for generation in range(1, 5):
        mark = supervisor.signal(signal.SIGUSR2)
        supervisor.event("taken_over", mark)
        supervisor.upgrade(v1)
        supervisor.event("generation_ended", mark, generation=generation)
        counts.append(len(proc.fds(supervisor.pid)))
    ends = time.monotonic() + DEADLINE
    while len(proc.fds(supervisor.pid)) > min(counts):  # one more is open while the journal is written
        assert time.monotonic() < ends, (counts, proc.fds(supervisor.pid))
    names = {str(os.readlink(each)) for each in Path(f"/proc/{supervisor.serving()['pid']}/fd").iterdir()}  # noqa: PTH115
    assert sum(name.startswith("socket:") for name in names) <= 2, names


def test_what_cannot_begin_does_not_take_over(supervisor: Supervisor, v1: Path) -> None:
    supervisor.start(v1)
    began = supervisor.status()["began"]
    supervisor.path.write_text("nonsense")
    said = supervisor.command("reexec")
    assert said.returncode == 4
    assert "this supervisor stays" in said.stderr
    mark = supervisor.signal(signal.SIGUSR2)
    assert "this supervisor stays" in supervisor.event("reexec_refused", mark)["reason"]
    assert supervisor.status()["began"] == began
    assert supervisor.get().version == "v1"


@pytest.mark.parametrize("broken", [True, False], ids=["broken", "sound"])
def test_new_code_is_what_runs_afterwards(supervisor: Supervisor, tmp_path: Path, v1: Path, broken: bool) -> None:  # noqa: FBT001 - a parameter
    package = tmp_path / "supervisor"
    shutil.copytree(ROOT / "supervisor", package, ignore=shutil.ignore_patterns("__pycache__"))
    supervisor.code = tmp_path
    supervisor.start(v1)
    version = package / "__init__.py"
    version.write_text('raise SyntaxError("half a package")\n' if broken else '"""New."""\n\n__version__ = "9.9.9"\n')
    said = supervisor.command("reexec")
    assert (said.returncode == 0) is not broken, said
    assert (supervisor.status()["version"] == "9.9.9") is not broken
    assert supervisor.get().version == "v1"


def test_one_that_was_started_by_arguments_alone_does_it_too(supervisor: Supervisor, v1: Path) -> None:
    """The new code is told to rehearse, and not the server that stands behind the two dashes."""
    supervisor.arguments = ("--listen", "127.0.0.1:0", "--service", supervisor.name, "--", str(v1))
    supervisor.spawn(environment={"STATE_DIRECTORY": str(supervisor.folder)})
    supervisor.event("generation_ready", generation=1)
    over = supervisor.event("taken_over", supervisor.signal(signal.SIGUSR2))
    assert over["alive"] == [1]
    assert supervisor.get().version == "v1"
    assert supervisor.stop() == 0
