"""Figures: counted right, and cheap on a busy host."""

import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from supervisor.linux.sockdiag import established
from supervisor.telemetry.sampler import sample


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port with 20 connections that this process holds, both ends."""
    monkeypatch.setattr("supervisor.telemetry.sampler._FRESH", 0.0)
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
        for _ in range(20):
            stack.enter_context(socket.create_connection(listening.getsockname()))
            stack.enter_context(listening.accept()[0])
        yield int(listening.getsockname()[1])


def test_connections_are_those_to_the_listener(connections: int) -> None:
    assert sample([os.getpid()], {connections}).connections == 20
    assert sample([os.getpid()], {connections, 1}).connections == 20
    assert sample([os.getpid()], {1}).connections == 0
    assert sample([os.getpid()], set()).connections == 0


def test_what_waits_in_the_queue_is_not_one_of_them_yet(connections: int) -> None:
    with socket.create_connection(("127.0.0.1", connections)):
        assert sample([os.getpid()], {connections}).connections == 20


def test_memory_and_cpu_are_those_of_the_process(connections: int) -> None:
    found = sample([os.getpid()], {connections})
    used = resource.getrusage(resource.RUSAGE_SELF)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    assert found.memory == pytest.approx(resident, rel=0.1)
    assert found.cpu == pytest.approx(used.ru_utime + used.ru_stime, abs=0.1)


def test_a_process_that_is_gone_counts_as_nothing() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    found = sample([pid], {80})
    assert (found.memory, found.cpu, found.connections) == (0, 0.0, 0)


def test_connections_that_are_over_cost_nothing(connections: int) -> None:
    """Each request without keep-alive leaves one in TIME_WAIT: reading /proc/net/tcp took 10 ms for a thousand."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        for _ in range(2000):
            client = socket.create_connection(listening.getsockname())
            server, _ = listening.accept()
            server.close()
            client.close()
        began = time.thread_time()
        assert len(established({connections})) == 20
        assert time.thread_time() - began < 0.05
