"""What `gapless preflight` costs for a Go program of 50 MB. `python -m benchmarks.preflight` prints it."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.harness import builds

_SIZE = 50 << 20
_RUNS = 15
_MAIN = 'package main\n\nimport _ "embed"\n\n//go:embed noise\nvar noise string\n\nfunc main() { println(noise) }\n'


def main() -> None:
    """Build one, look at it again and again, and print a line for each way to look."""
    with tempfile.TemporaryDirectory() as name:
        large = _large(Path(name))
        _say(f"{large.stat().st_size / (1 << 20):.0f} MB, {_RUNS} runs each; load average {os.getloadavg()[0]:.2f}")
        command = [sys.executable, "-m", "supervisor", "preflight", "--json", str(large)]
        _say(_line("gapless preflight", [_measured(command) for _ in range(_RUNS)]))
        boot = "import sys; sys.path[:] = sys.argv[2:]; from supervisor.releases.preflight.process import main; main()"
        command = [sys.executable, "-S", "-c", boot, str(large), str(builds.ROOT), *sys.path]
        _say(_line("in a handoff", [_measured(command) for _ in range(_RUNS)]))
        command = [sys.executable, "-S", "-c", "pass"]
        _say(_line("python alone", [_measured(command) for _ in range(_RUNS)]))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _large(folder: Path) -> Path:
    (folder / "go.mod").write_text("module example.com/large\n\ngo 1.21\n")
    (folder / "main.go").write_text(_MAIN)
    (folder / "noise").write_bytes(os.urandom(_SIZE))
    return builds.go_program(folder, "large")


_MEASURING = """
import os, subprocess, sys, time
began = time.monotonic()
with subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
    process.stdin.write(b"{}")
    process.stdin.close()
    _, process.returncode, usage = os.wait4(process.pid, 0)
print(time.monotonic() - began, usage.ru_maxrss)
"""
"""In a small process of its own: whoever begins another counts towards that one's memory, until the exec."""


def _measured(command: list[str]) -> tuple[float, int]:
    """Seconds, and kB that it had resident at the most."""
    measuring = [sys.executable, "-S", "-c", _MEASURING, *command]
    said = subprocess.run(measuring, check=True, capture_output=True, text=True, cwd=builds.ROOT)
    seconds, most = said.stdout.split()
    return float(seconds), int(most)


def _line(name: str, figures: list[tuple[float, int]]) -> str:
    times, most = [seconds for seconds, _ in figures], max(memory for _, memory in figures)
    return f"{name:18}  {statistics.median(times):.3f} s median, {max(times):.3f} s at most, {most / 1024:.0f} MB"


if __name__ == "__main__":
    main()
