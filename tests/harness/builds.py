"""The Go programs that the tests run: built when they are first wanted, kept in build/ by what they were made of."""

import hashlib
import os
import platform
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_KEPT = ROOT / "build" / "tests"
_FOREIGN = {"x86_64": "arm64"}
"""GOARCH of another machine than this one, by what uname(2) calls this one."""


def load_generator() -> Path:
    return _build("benchmarks/load", "")


def go_server(version: str, baked: str = "") -> Path:
    """A release of the example server. `baked` are flags that make it misbehave."""
    return _build("examples/go-server", _flags(version, baked))


def foreign_go_server(version: str) -> Path:
    """The same, built for a machine that this is not."""
    return _build("examples/go-server", _flags(version, ""), _FOREIGN.get(platform.machine(), "amd64"))


def _flags(version: str, baked: str) -> str:
    return f"-X main.version={version}" + (f" -X 'main.baked={baked}'" if baked else "")


@cache
def _build(folder: str, flags: str, machine: str = "") -> Path:
    made_of = hashlib.sha256(f"{flags}\0{machine}".encode())
    for source in sorted((ROOT / folder).glob("*.go")):
        if not source.name.endswith("_test.go"):
            made_of.update(source.read_bytes())
    built = _KEPT / f"{Path(folder).name}-{made_of.hexdigest()[:16]}"
    if not built.exists():
        _KEPT.mkdir(parents=True, exist_ok=True)
        unfinished = built.with_suffix(f".{os.getpid()}")
        environment = os.environ | ({"GOARCH": machine} if machine else {})
        command: list[str | Path] = [
            ROOT / "scripts/go",
            "build",
            "-C",
            ROOT / folder,
            "-ldflags",
            f"-s -w {flags}",
            "-o",
            unfinished,
            ".",
        ]
        subprocess.run(command, env=environment, check=True, timeout=300)
        unfinished.replace(built)  # another run may build the same: whole or not at all
    return built
