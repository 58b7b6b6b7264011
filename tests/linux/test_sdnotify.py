"""What we say to systemd, and what if it does not listen."""

import socket
import time
from contextlib import suppress
from pathlib import Path

from supervisor.linux.sdnotify import Systemd


def test_a_systemd_that_reads_nothing_does_not_keep_us_waiting(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "notify"))
        systemd = Systemd(str(tmp_path / "notify"))
        began = time.monotonic()
        for _ in range(2000):  # more than any queue holds (net.unix.max_dgram_qlen)
            systemd.tell(STATUS="waiting")
        assert time.monotonic() - began < 10
        deaf.settimeout(0)
        with suppress(BlockingIOError):
            while deaf.recv(100):
                pass
        systemd.tell(READY=1)
        assert deaf.recv(100) == b"READY=1"
        systemd._socket.close()
