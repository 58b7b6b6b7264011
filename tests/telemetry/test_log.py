"""The log's lines, on a pipe and on a terminal, and that it holds nobody up."""

import fcntl
import json
import os
import pty
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from supervisor.telemetry.log import Outlet
from tests.harness import builds
from tests.harness.builds import ROOT
from tests.harness.output import DEADLINE
from tests.harness.supervisor import Supervisor

PROGRAM = r"""
import structlog
from supervisor.core.outcome import Result
from supervisor.telemetry.log import configure
configure()
log = structlog.get_logger()
log.info("handoff_ended", handoff=1, result=Result.COMMITTED, release=None, reason="a \x1b[31mb\nc")
log.error("odd", what={"a": {1, 2}}, name="\udcff")
log.info("earlier", at=1795573209.5)
"""


def test_lines_for_machines() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, stderr=subprocess.PIPE, check=True, text=True)
    first, second, third = (json.loads(line) for line in done.stderr.splitlines())
    assert list(first) == ["timestamp", "level", "event", "handoff", "result", "release", "reason"]
    assert (first["level"], first["result"], first["release"]) == ("info", "committed", None)
    written = datetime.fromisoformat(first["timestamp"])
    assert datetime.now(UTC) - written < timedelta(seconds=DEADLINE)
    assert second["level"] == "error"
    assert third == {"timestamp": "2026-11-25T02:20:09.500000Z", "level": "info", "event": "earlier"}


def test_lines_for_people() -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=ROOT, stderr=theirs) as process:
        os.close(theirs)
        written = b""
        while part := _read(ours):
            written += part
        assert process.wait(DEADLINE) == 0
    os.close(ours)
    assert b"[31mb" not in written.replace(b"?[31mb", b"")
    text = re.sub(r"\x1b\[[0-9;]*m", "", written.decode())
    assert re.match(r"\d\d:\d\d:\d\d\.\d+ \[info +\] handoff_ended +handoff=1 result=committed ", text)
    assert "reason='a ?[31mb?c'" in text


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:  # EIO: nobody has the other side any more
        return b""


def test_a_reader_that_does_not_read_loses_lines_and_holds_nobody_up() -> None:
    reading, writing = os.pipe()
    size = fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096 * 4)
    outlet = Outlet(writing)
    for number in range(1000):
        outlet.write(json.dumps({"number": number, "text": "x" * 100}) + "\n")
    kept = os.read(reading, size).splitlines()
    outlet.write("{}\n")
    lost, last = os.read(reading, size).splitlines()
    assert json.loads(lost) == {"level": "warning", "event": "log_lines_lost", "count": 1000 - len(kept)}
    assert last == b"{}"
    assert [json.loads(line)["number"] for line in kept] == list(range(len(kept)))
    os.close(reading)
    outlet.write("nobody is there\n")
    os.close(writing)


def test_the_daemon_serves_on_when_nobody_reads_its_log_any_more(tmp_path: Path) -> None:
    """`gapless run | head -1`: the next line that was logged broke the step that it told of."""
    supervisor = Supervisor(tmp_path)
    supervisor.use(builds.go_server("v1"))
    supervisor.configure(service={"stderr": "/dev/null"})  # a Go program dies of a pipe that nobody reads
    reading, writing = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-m", "supervisor", "run", str(supervisor.path)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=writing,
        env=supervisor._environment,
    ) as process:
        os.close(writing)
        heard = b""
        while b"generation_ready" not in heard:
            more = os.read(reading, 65536)
            assert more, heard
            heard += more
        os.close(reading)
        try:
            supervisor.use(builds.go_server("v2"))
            assert supervisor.client().call("POST", "/v1/upgrade", wait=True)["result"] == "done"
        finally:
            process.terminate()
        assert process.wait(DEADLINE) == 0
    assert supervisor.left_behind() == []
