"""`gapless release` as a process: what it says, how it ends, and that it may be killed anywhere."""

import json
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from supervisor.releases import prune, seal
from supervisor.releases.layout import Layout
from supervisor.releases.manifest import read
from supervisor.releases.verify import verify
from tests.cli.asked import gapless
from tests.harness.builds import ROOT
from tests.harness.crashing import needs_strace
from tests.harness.output import DEADLINE
from tests.releases.stores import left, sha256

CALLS = ("mkdir", "mkdirat", "symlinkat", "write", "fsync", "fchmod", "chmod", "unlink", "rename")
"""The system calls by which an `add` changes the world."""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    root = tmp_path / "web"
    path = tmp_path / "gapless.toml"
    path.write_text(
        f'[service]\nname = "t"\ncommand = ["{root}/current/server"]\nstate_dir = "{tmp_path}/state"\n'
        f'[[listen]]\naddress = "127.0.0.1:0"\n[releases]\nroot = "{root}"\n'
    )
    return path


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "web")


@pytest.fixture
def build(tmp_path: Path) -> Path:
    made = tmp_path / "build"
    (made / "static").mkdir(parents=True)
    (made / "server").write_bytes(b"#!/bin/sh\n")
    (made / "server").chmod(0o755)
    (made / "static/page").write_text("hello")
    (made / "page").symlink_to("static/page")
    return made


def test_a_store_from_the_first_to_the_last(config: Path, layout: Layout, tmp_path: Path) -> None:
    program = tmp_path / "server-v1"
    program.write_bytes(b"#!/bin/sh\n")
    program.chmod(0o755)
    words = ("--config", str(config))
    for version in ("v1", "v2", "v3"):
        added = gapless("release", "add", str(program), "--version", version, "--sha256", sha256(program), *words)
        assert (added.returncode, added.stderr) == (0, ""), added
        assert f"added: {version}" in added.stdout
    assert (layout.folder("v1") / "server").exists(), "called as the command has it"
    layout.current_link.symlink_to("versions/v1")
    listed = json.loads(gapless("release", "list", "--json", *words).stdout)
    assert [each["version"] for each in listed["versions"]] == ["v1", "v2", "v3"]
    assert listed["current"] == "v1"
    assert "current, checked by sha256" in gapless("release", "list", *words).stdout
    assert gapless("release", "verify", *words).returncode == 0
    refused = gapless("release", "add", str(program), "--version", "v4", "--sha256", "0" * 64, *words)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert gapless("release", "prune", "--keep", "1", *words).stdout == "removed: v2\n"
    assert "stays: it is current" in gapless("release", "remove", "v1", *words).stderr
    assert gapless("release", "remove", "v3", *words).returncode == 0
    (layout.folder("v1") / "server").chmod(0o755)
    spoilt = gapless("release", "verify", "v1", *words)
    assert spoilt.returncode == 1
    assert "has mode 0755" in spoilt.stdout
    assert left(layout) == []


ADD = """
import sys
from pathlib import Path
from supervisor.core.launch import Store
from supervisor.releases import seal
from supervisor.releases import prune, seal
from supervisor.releases.layout import Layout
layout = Layout(sys.argv[1])
layout.make()
with layout.alone():
    seal.add(layout, Store(root=sys.argv[1]), seal.Offer(source=Path(sys.argv[2]), version="v1"))
"""
"""What `gapless release add` does after it has read the configuration."""


def killed(layout: Layout, source: Path, call: str, number: int) -> bool:
    """An `add` that is killed at a call, if it comes so far: whether it was."""
    trace = [
        "strace",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        f"trace={call}",
        "-e",
        f"inject={call}:signal=KILL:when={number}",
    ]
    command = [*trace, sys.executable, "-c", ADD, str(layout.root), str(source)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=DEADLINE)
    assert done.returncode in {0, -signal.SIGKILL, 128 + signal.SIGKILL}, done.stderr
    return done.returncode != 0


@needs_strace
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_an_add_that_is_killed_anywhere_leaves_a_whole_version_or_none(
    layout: Layout, build: Path, tmp_path: Path, *, packed: bool
) -> None:
    source = build
    if packed:
        source = tmp_path / "build.tar.gz"
        with tarfile.open(source, "w:gz") as tar:
            tar.add(build, ".")
    deaths = 0
    for call in CALLS:
        number = 1
        while killed(layout, source, call, number):
            deaths += 1
            layout.make()
            for name in layout.names():
                manifest = read(layout.folder(name))
                assert manifest is not None, (call, number)
                verify(layout.folder(name), manifest)
            with layout.alone():
                swept = seal.sweep(layout)
                assert set(swept) <= {"the adding of v1"}
                for name in layout.names():
                    prune.remove(layout, name, {})
            assert left(layout) == [], (call, number)
            number += 1
        prune.remove(layout, "v1", {})
    assert deaths >= (20 if packed else 18), deaths
