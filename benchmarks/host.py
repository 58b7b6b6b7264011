"""What has to be there before anything is measured, and the conditions under which it is."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.tools import BenchmarkError, Circus, Gapless, Starter, Tool

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build/benchmarks"
VERSIONS = ("v1", "v2")
_CIRCUS = "circus==0.19.0"
_CIRCUS_VENV = BUILD / "circus"
_QUIET = 0.02
"""Of the processors' time: who waits for one now and then waits for milliseconds."""


def servers() -> None:
    """Build both versions of the server, alike but for their names."""
    for name in VERSIONS:
        command = [str(ROOT / "scripts/go"), "build", "-C", str(ROOT / "examples/go-server")]
        command += ["-ldflags", f"-s -w -X main.version={name}", "-o", str(BUILD / "bin" / name), "."]
        if subprocess.run(command, check=False).returncode:
            raise BenchmarkError("examples/go-server does not build")


def place_servers(folder: Path) -> None:
    """Copies of them, each in a folder of its version: whoever runs from there is ours."""
    for name in VERSIONS:
        (folder / name).mkdir()
        shutil.copy2(BUILD / "bin" / name, folder / name / "server")


def deploy(current: Path, name: str) -> None:
    """Let the symlink lead to that version: at no instant is it not there."""
    fresh = current.with_name("current.new")
    fresh.symlink_to(current.parent / name / "server")
    fresh.rename(current)


def missing(tool: type[Tool]) -> str:
    """Why a tool cannot be tried here, and what would help; empty if it can."""
    if tool is Starter and shutil.which("start_server") is None:
        return "not installed; on Debian: `apt-get install libserver-starter-perl`"
    if tool is Circus:
        return _circus()
    return ""


def tool_version(tool: type[Tool]) -> str:
    """As people would say it."""
    if tool is Gapless:
        return f"gapless {version('gapless')} ({_said('git', '-C', str(ROOT), 'describe', '--always', '--dirty')})"
    if tool is Starter:
        return f"start_server {_said('start_server', '--version')}"
    return _CIRCUS.replace("==", " ") if tool is Circus else ""


def conditions(load_average: float) -> list[str]:
    """The machine and the versions, a line each."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    cpus = len(os.sched_getaffinity(0))
    memory = psutil.virtual_memory().total / 2**30
    go = _said(str(ROOT / "scripts/go"), "env", "GOVERSION")
    return [
        f"{time.strftime('%Y-%m-%d')}, Linux {platform.release()}, {cpus} CPUs ({cpu}), {memory:.0f} GB",
        f"gapless's state, which it syncs at each commit, was on {_filesystem(BUILD)}",
        f"Python {platform.python_version()}, uvloop {version('uvloop')}, {go}",
        f"load average before it began: {load_average:.2f}"
        + (" (**not a quiet machine: the figures are worth little**)" if load_average > cpus / 4 else ""),
    ]


def processor_times() -> Mapping[str, float]:
    """What all processors have done since the start of the host, in seconds, by the names of proc_stat(5)."""
    return dict(psutil.cpu_times()._asdict())


def stolen(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    """How much of the time for which a processor was wanted the hypervisor gave to others in between."""
    wanted = sum(after[name] - before[name] for name in ("user", "nice", "system", "irq", "softirq", "steal"))
    share = (after["steal"] - before["steal"]) / wanted if wanted else 0.0
    loud = " (**not a quiet host: the tails are its own, too**)" if share > _QUIET else ""
    return f"of the time for which a processor was wanted, the hypervisor gave {share:.1%} to others{loud}"


def _circus() -> str:
    python = str(_CIRCUS_VENV / "bin/python")
    wanted = _CIRCUS.partition("==")[2]
    Circus.daemon = _CIRCUS_VENV / "bin/circusd"
    ask = [python, "-c", "from importlib.metadata import version; print(version('circus'))"]
    if _said(*ask) == wanted:
        return ""
    base = getattr(sys, "_base_executable", sys.executable)  # a venv made from a venv's python works, but not for ever
    for command in (
        [base, "-m", "venv", "--clear", str(_CIRCUS_VENV)],
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", _CIRCUS],
    ):
        if subprocess.run(command, check=False, env=os.environ | {"PIP_ROOT_USER_ACTION": "ignore"}).returncode:
            return f"`pip install {_CIRCUS}` into build/benchmarks/circus did not work"
    return ""


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def _filesystem(path: Path) -> str:
    mounted = [each for each in psutil.disk_partitions(all=True) if path.is_relative_to(each.mountpoint)]
    return max(mounted, key=lambda each: len(each.mountpoint)).fstype if mounted else "an unknown file system"
