"""The configuration as a running supervisor reads it: by another process, and only when it has changed."""

import os
import select
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import proc
from tests.harness.supervisor import Supervisor

_FAULTY = """
import os, signal, sys, time
if "supervisor.config.reader" in " ".join(sys.orig_argv):
    with open(os.environ["READER_FAULT"]) as file:
        exec(file.read())
"""
"""A sitecustomize.py: Python loads it before anything else."""

Fault = Callable[[str], None]


@pytest.fixture
def fault(supervisor: Supervisor, v1: Path) -> Fault:
    """Has all readings from now on do this instead. The supervisor serves."""
    folder = supervisor.folder / "python"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_FAULTY)
    script = supervisor.folder / "fault"
    script.touch()

    def break_it(code: str) -> None:
        script.write_text(code)

    supervisor.start(v1, {"PYTHONPATH": str(folder), "READER_FAULT": str(script)})
    return break_it


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "failed with signal 9"),
        ("print('rubbish'); os._exit(0)", "makes no sense"),
        ("raise SystemExit('no module of that name')", "failed with exit status 1: SystemExit: no module of that name"),
    ],
)
def test_a_reader_that_fails_refuses_the_handoff_and_nothing_else(
    supervisor: Supervisor, fault: Fault, v2: Path, code: str, said: str
) -> None:
    before = supervisor.get()
    fault(code)
    supervisor.configure(drain={"timeout": "20s"})
    ended = supervisor.hup(v2)
    assert ended["result"] == "refused"
    assert ended["reason"].startswith(f"invalid configuration: {supervisor.path} could not be read: ")
    assert said in ended["reason"]
    assert supervisor.get() == before
    assert proc.reaps_all(supervisor.pid, 20)
    fault("")
    supervisor.upgrade(v2)
    assert supervisor.get().version == "v2"


def test_a_file_that_has_not_changed_is_not_read_again(supervisor: Supervisor, fault: Fault, v2: Path) -> None:
    fault("os._exit(1)")
    supervisor.configure()  # the same, written anew
    supervisor.upgrade(v2)
    assert supervisor.get().version == "v2"


def test_a_reader_that_hangs_keeps_nobody_waiting_and_hears_no_signal_that_is_not_its_own(
    supervisor: Supervisor, fault: Fault, v2: Path
) -> None:
    before = supervisor.get()
    hangs = supervisor.folder / "hangs"
    os.mkfifo(hangs)
    fifo = os.open(hangs, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    fault(f"open({str(hangs)!r}, 'w').close(); signal.pause()")
    supervisor.configure(drain={"timeout": "20s"})
    supervisor.use(v2)
    mark = supervisor.signal(signal.SIGHUP)
    supervisor.event("handoff_began", mark)
    _opened(fifo)
    os.close(fifo)
    (reader,) = set(proc.children(supervisor.pid)) - {before.pid} - supervisor.made_ahead()
    os.killpg(supervisor.pid, signal.SIGHUP)
    assert supervisor.get() == before
    assert supervisor.status()["handoff"] is not None
    assert proc.state(reader) not in {"", "Z"}
    fault("")
    assert supervisor.command("abort").returncode == 0
    assert supervisor.event("handoff_ended", mark)["result"] == "rolled back"
    assert proc.gone(reader, 20)
    supervisor.event("handoff_ended", mark, result="committed")  # the other HUP, which waited
    assert supervisor.get().version == "v2"
    assert proc.reaps_all(supervisor.pid, 20)


def _opened(fifo: int) -> None:
    """Wait until somebody has opened the other end, and closed it."""
    poll = select.poll()
    poll.register(fifo, 0)
    assert poll.poll(40_000), "nobody has opened it"
