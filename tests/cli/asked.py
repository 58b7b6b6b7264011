"""The command line as a process: how it ends, and what it says."""

import os
import pty
import select
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.harness.builds import ROOT
from tests.harness.output import DEADLINE

GAPLESS = [sys.executable, "-m", "supervisor"]


def gapless(*words: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | dict(env or {})
    return subprocess.run(
        [*GAPLESS, *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=DEADLINE
    )


def failed(found: subprocess.CompletedProcess[str], status: int) -> str:
    """The one line that it said."""
    assert found.returncode == status, found
    assert found.stderr.count("\n") == 1, found.stderr
    assert found.stderr.startswith("gapless: ")
    assert found.stdout == ""
    return found.stderr


def on_terminal(*words: str, columns: int = 100) -> tuple[int, str]:
    """Run it on a terminal of its own: exit status, and all that was written to it."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    environment = os.environ | {"TERM": "xterm-256color"}
    environment.pop("COLUMNS", None)
    process = subprocess.Popen(
        [*GAPLESS, *words], cwd=ROOT, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    written = b""
    while select.select([ours], [], [], DEADLINE)[0]:
        try:
            part = os.read(ours, 65536)
        except OSError:  # EIO: nobody has the other side any more
            break
        written += part
    os.close(ours)
    return process.wait(DEADLINE), written.decode()


@contextmanager
def answering(path: Path, answer: bytes, *, after: bytes = b"\r\n\r\n") -> Iterator[None]:
    """Somebody who is no supervisor, at a supervisor's socket: the same answer to each who asks, then silence."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        thread = threading.Thread(target=_answer, args=(listening, answer, after), daemon=True)
        thread.start()
        yield
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(DEADLINE)


def _answer(listening: socket.socket, answer: bytes, after: bytes) -> None:
    while True:
        try:
            sock, _ = listening.accept()
        except OSError:
            return
        with sock:
            heard = b""
            while after not in heard and (part := sock.recv(65536)):
                heard += part
            sock.sendall(answer)
