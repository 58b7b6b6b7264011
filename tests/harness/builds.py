"""The Go programs that the tests run: built when they are first wanted, kept in build/ by what they were made of."""

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_KEPT = ROOT / "build" / "tests"
_FOREIGN = {"x86_64": "arm64"}
"""GOARCH of another machine than this one, by what uname(2) calls this one."""


def load_generator() -> Path:
    return _build("benchmarks/load", "")


def go_server(version: str, baked: str = "", *flags: str) -> Path:
    """A release of the example server. `baked` are flags that make it misbehave, `flags` are for `go build`."""
    return _build("examples/go-server", _flags(version, baked), *flags)


@cache
def foreign_go_program() -> Path:
    """One for a machine that this is not. It does nothing, for all of Go that it has in it is to be built first."""
    machine = _FOREIGN.get(platform.machine(), "amd64")
    built = _KEPT / f"foreign-{machine}"
    if not built.exists():
        with tempfile.TemporaryDirectory(dir=_kept()) as folder:
            (Path(folder) / "go.mod").write_text("module example.com/foreign\n\ngo 1.21\n")
            (Path(folder) / "main.go").write_text("package main\n\nfunc main() {}\n")
            go_program(Path(folder), "foreign", environment={"GOARCH": machine}).replace(built)
    return built


def _flags(version: str, baked: str) -> str:
    return f"-X main.version={version}" + (f" -X 'main.baked={baked}'" if baked else "")


def _kept() -> Path:
    _KEPT.mkdir(parents=True, exist_ok=True)
    return _KEPT


@cache
def _build(folder: str, flags: str, *more: str) -> Path:
    made_of = hashlib.sha256("\0".join((flags, *more)).encode())
    for source in sorted((ROOT / folder).glob("*.go")):
        if not source.name.endswith("_test.go"):
            made_of.update(source.read_bytes())
    built = _KEPT / f"{Path(folder).name}-{made_of.hexdigest()[:16]}"
    if not built.exists():
        unfinished = _kept() / f"{built.name}.{os.getpid()}"
        command: list[str | Path] = [
            ROOT / "scripts/go",
            "build",
            "-C",
            ROOT / folder,
            "-ldflags",
            f"-s -w {flags}",
            *more,
            "-o",
            unfinished,
            ".",
        ]
        subprocess.run(command, check=True, timeout=300)
        unfinished.replace(built)  # another run may build the same: whole or not at all
    return built


def go(*words: str, cwd: Path, environment: Mapping[str, str] | None = None) -> str:
    """The toolchain itself, in a folder of a test's own; `environment` goes before that of scripts/env.sh."""
    variables = [f"{key}={value}" for key, value in (environment or {}).items()]
    script = '. "$0"/scripts/env.sh; exec env "$@"'
    command = ["bash", "-c", script, str(ROOT), *variables, "go", *words]
    made = subprocess.run(command, cwd=cwd, check=False, timeout=300, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return made.stdout


def go_program(folder: Path, name: str, *flags: str, environment: Mapping[str, str] | None = None) -> Path:
    """Build what is in such a folder, as `name` in it."""
    go("build", *flags, "-o", name, ".", cwd=folder, environment=environment)
    return folder / name


def c_compiler() -> str:
    """Its name; the test that wants it is skipped where there is none."""
    found = shutil.which("cc") or shutil.which("gcc")
    if found is None:
        pytest.skip("there is no C compiler (apt-get install gcc libc6-dev)")
    return found
