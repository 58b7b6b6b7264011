"""A host that has no means left: a handoff is refused, nothing is left behind, and the next one succeeds."""

import resource
from pathlib import Path

import pytest

from tests.harness import proc
from tests.harness.supervisor import Supervisor


@pytest.mark.parametrize("left", [0, 1, 2, 4, 6, 8])
def test_without_file_descriptors_a_handoff_ends_and_leaves_nothing(
    supervisor: Supervisor, v1: Path, v2: Path, left: int
) -> None:
    listen = [
        {"name": "http", "address": "127.0.0.1:0"},
        {"name": "files", "address": f"unix:{supervisor.folder}/files.sock"},
        {"name": "shared", "address": "127.0.0.1:0", "mode": "shared"},
    ]
    supervisor.configure(listen=listen)
    supervisor.start(v1)
    supervisor.event("generation_ended", generation=supervisor.upgrade(v2)["from_generation"])
    supervisor.digest()
    supervisor.output.until("nobody to ask it", lambda: not _is_asked(supervisor), step=0.01)
    before = proc.fds(supervisor.pid)  # those that stay open: no file that is read, no connection that asks
    files = _files(supervisor)
    hard = resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE)[1]
    free = (number for number in range(max(before) + left + 2) if number not in before)
    limit = [next(free) for _ in range(left + 1)][-1]
    supervisor.configure(drain={"timeout": "20s"})  # so that it is read again
    resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE, (limit, hard))
    ended = supervisor.hup(v1)
    assert ended["result"] != "committed"
    resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE, (hard, hard))
    assert supervisor.get().version == "v2"
    assert _files(supervisor) == files
    assert supervisor.upgrade(v1)["to_generation"] > 2


def _is_asked(supervisor: Supervisor) -> bool:
    """Whether a connection to its control socket is open at its end (proc(5), /proc/net/unix; 03: connected)."""
    sockets = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    return any(each[5] == "03" and each[-1] == str(supervisor.control) for each in sockets)


def _files(supervisor: Supervisor) -> int:
    return len([each for each in supervisor.folder.iterdir() if each.is_socket()])
