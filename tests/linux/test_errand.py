"""A process that is asked one thing: its answer, its failures, and that nothing of it is left."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from supervisor.errors import HostError
from supervisor.linux import errand
from supervisor.linux.errand import Errand
from tests.harness import proc

Ask = Callable[..., bytes]


def waiting(*argv: str, given: bytes = b"", within: float = 20.0, most: int = 1000) -> bytes:
    return Errand(argv, given, most=most).wait(within)


def awaiting(*argv: str, given: bytes = b"", within: float = 20.0, most: int = 1000) -> bytes:
    async def ask() -> bytes:
        return await Errand(argv, given, most=most).answer(within)

    return asyncio.run(ask())


@pytest.fixture(params=[waiting, awaiting])
def ask(request: pytest.FixtureRequest) -> Iterator[Ask]:
    """Either way of waiting; afterwards there is no child and no fd more than before."""
    asyncio.run(asyncio.sleep(0))  # what asyncio opens once for all
    before = proc.fds(os.getpid()).keys()
    yield request.param
    assert not errand.running()
    assert not proc.zombies(os.getpid())
    assert proc.fds(os.getpid()).keys() == before


def test_it_is_given_something_and_answers(ask: Ask) -> None:
    assert ask("/bin/cat", given=b"a line\n" * 100) == b"a line\n" * 100


def test_it_is_in_a_group_of_its_own(ask: Ask) -> None:
    group, pid = ask(sys.executable, "-c", "import os; print(os.getpgrp(), os.getpid())").split()
    assert group == pid


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["/bin/sh", "-c", "echo it is so >&2; exit 3"], "failed with exit status 3: it is so"),
        (["/bin/sh", "-c", "kill -KILL $$"], "failed with signal 9"),
        (["/bin/sh", "-c", "echo half; exec sleep 60"], "has not answered in 0.3 s and was killed: half"),
        (["/bin/sh", "-c", "exec >&- 2>&-; exec sleep 60"], "has not answered in 0.3 s and was killed"),
        (["/bin/sh", "-c", "while :; do echo more; done"], "said more than 1000 bytes"),
        (["/nowhere/at/all"], "cannot be started: No such file or directory"),
    ],
)
def test_a_failure_is_told_in_a_sentence(ask: Ask, argv: list[str], said: str) -> None:
    began = time.monotonic()
    with pytest.raises(HostError) as failed:
        ask(*argv, within=0.3 if "sleep 60" in argv[-1] else 20.0)
    assert said in str(failed.value)
    assert time.monotonic() - began < 20


def test_one_that_is_not_waited_for_any_more_is_killed() -> None:
    async def cancel() -> int:
        begun = Errand(["/bin/sleep", "60"])
        task = asyncio.ensure_future(begun.answer(60))
        await asyncio.sleep(0)
        assert errand.running() == {begun.pid}
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        return begun.pid

    pid = asyncio.run(cancel())
    assert not errand.running()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
