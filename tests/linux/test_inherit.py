"""A thread for work that takes a while: no signal is ever delivered to it."""

import asyncio
import signal
import threading

import pytest

from supervisor.linux.inherit import in_thread

OURS = {signal.SIGHUP, signal.SIGTERM, signal.SIGUSR2}


def held_back() -> set[int]:
    return {int(each) for each in signal.pthread_sigmask(signal.SIG_BLOCK, ())}


def test_it_is_deaf_from_birth_and_its_maker_hears_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is made, and finds its work done by another, waits for more without having run anything."""
    at_birth: list[set[int]] = []
    start = threading.Thread.start

    def started(thread: threading.Thread) -> None:
        at_birth.append(held_back())
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", started)
    inside = asyncio.run(in_thread(held_back))
    assert at_birth[0] >= OURS  # asyncio makes one more at the end of a loop
    assert inside >= OURS
    assert not held_back() & OURS
