"""The releases that the demonstration deploys: three good ones, and five that are broken, each in its own way."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ROOT / "build/demo/versions"
"""Beside the other things that are built, so that the second run finds them."""

CRASH_AFTER = 2.0
"""Seconds after which the release that dies on probation does so."""

_SERVER = ROOT / "examples/go-server"
_FOREIGN = ("amd64", "x86_64") if platform.machine() in {"aarch64", "arm64"} else ("arm64", "aarch64")
"""A machine that this host is not, in Go's words and in uname's."""


@dataclass(frozen=True, slots=True)
class Release:
    """One version of the server, and what is wrong with it."""

    name: str
    fault: str = ""
    baked: str = ""
    """Flags of the server's that are linked into it."""

    @property
    def path(self) -> Path:
        """The folder that `current` points to while this is deployed."""
        return VERSIONS / self.name


GOOD = (Release("v1"), Release("v2"), Release("v3"))
REFUSED = (
    Release("v4", "crashes at start", "-crash-at-start"),
    Release("v5", "never gets ready", "-never-ready"),
    Release("v6", "is not executable"),
    Release("v7", f"is built for {_FOREIGN[1]}"),
)
DYING = Release("v8", "dies on probation", f"-crash-after={CRASH_AFTER:g}s")


def build() -> None:
    """Make them all. Go sees for itself what is there already. Raises CalledProcessError."""
    for release in (*GOOD, REFUSED[0], REFUSED[1], DYING):
        flags = f"-X main.version={release.name}" + (f" -X 'main.baked={release.baked}'" if release.baked else "")
        _go(release, "-C", str(_SERVER), "-ldflags", flags)
    _, _, unexecutable, foreign = REFUSED
    unexecutable.path.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(GOOD[0].path / "server", unexecutable.path / "server")
    (unexecutable.path / "server").chmod(0o644)
    source = VERSIONS.parent / "foreign"
    source.mkdir(exist_ok=True)
    (source / "go.mod").write_text("module foreign\n", encoding="utf-8")
    (source / "main.go").write_text("package main\n\nfunc main() {}\n", encoding="utf-8")
    _go(foreign, "-C", str(source), GOARCH=_FOREIGN[0])


def _go(release: Release, *arguments: str, **environment: str) -> None:
    folder, flags = arguments[:2], arguments[2:]
    command = [str(ROOT / "scripts/go"), "build", *folder, *flags, "-o", str(release.path / "server"), "."]
    subprocess.run(command, check=True, env=os.environ | environment)
