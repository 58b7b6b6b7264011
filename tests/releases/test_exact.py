"""What was verified is what is run: an attacker swaps the file, or writes to it, at each point between the two."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.core.launch import Launch, Store
from supervisor.core.model import Release
from supervisor.core.value import replace
from supervisor.errors import ReleaseError
from supervisor.releases import exact, verify
from supervisor.releases.choose import choose, choose_again, recall_any
from supervisor.releases.layout import Layout
from supervisor.releases.seal import Offer, add
from tests.linux.test_spawn import SET_UP

GOOD, EVIL = (Path(shutil.which(name) or f"/bin/{name}").resolve() for name in ("echo", "touch"))
"""The one prints its argument, the other makes a file of that name."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="takes root: nobody else may write to a sealed file")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A store whose version v1 is `GOOD`, and current."""
    made = Layout(tmp_path / "web")
    made.make()
    put(made, GOOD, "v1")
    made.current_link.symlink_to("versions/v1")
    return made


def put(layout: Layout, source: Path, version: str) -> None:
    with layout.alone():
        add(layout, Store(root=str(layout.root)), Offer(source=source, version=version, name="server"))


def launch(layout: Layout) -> Launch:
    mark = str(layout.root / "mark")
    return Launch(argv=(f"{layout.current_link}/server", mark), store=Store(root=str(layout.root)))


def server(layout: Layout) -> Path:
    path = layout.folder("v1") / "server"
    path.parent.chmod(0o755)
    return path


def swap(path: Path) -> None:
    """By rename, as whoever may write to the folder can at any time."""
    beside = path.with_name("beside")
    shutil.copy(EVIL, beside)
    beside.chmod(0o555)
    beside.replace(path)


def run(release: Release, meanwhile: str = "", before: str = "") -> tuple[str, int, str]:
    """What it prints, how it ends and what is told of it, if that is done while it is held, or before it is opened."""
    script = f"""
import pickle, shutil
from supervisor.releases import exact
release = pickle.loads({pickle.dumps(release)!r})
path = release.path
{before}
program = exact.opened(release)
held = spawn.spawn(command(*release.launch.argv, program=program), [], window)
os.close(program.fd)
{meanwhile}
held.let_go()
print("status", ended(held).status, flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", SET_UP + script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    said, _, status = done.stdout.rpartition("status ")
    return said, int(status), done.stderr


def marked(layout: Layout) -> bool:
    return (layout.root / "mark").exists()


def test_the_release_is_the_one_that_was_sealed(layout: Layout) -> None:
    found = choose(launch(layout))
    assert (found.version, found.path) == ("v1", str(layout.folder("v1") / "server"))
    assert found.id == f"v1+{(found.sealed or '')[:8]}"
    assert found.launch.argv[0] == found.path
    assert run(found) == (f"{layout.root}/mark\n", 0, "")
    assert replace(recall_any(found), ctime_ns=None) == replace(found, ctime_ns=None)
    assert choose_again(found) == found


def test_one_that_is_swapped_before_it_is_opened_is_refused(layout: Layout) -> None:
    found = choose(launch(layout))
    swap(server(layout))
    with pytest.raises(ReleaseError, match="not what was verified"):
        exact.opened(choose_again(found))


@needs_root
@pytest.mark.parametrize("keeps_times", [False, True])
@pytest.mark.parametrize("close", [0, 2_000_000_000], ids=["by its last change", "by its digest"])
def test_one_that_is_written_to_before_it_is_opened_is_refused(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, close: int, *, keeps_times: bool
) -> None:
    monkeypatch.setattr(verify, "_CLOSE", close)
    found, path = choose(launch(layout)), server(layout)
    assert (found.ctime_ns is None) == bool(close)
    before = path.stat()
    with path.open("r+b") as file:
        file.write(EVIL.read_bytes()[: before.st_size])
        file.truncate(before.st_size)
    if keeps_times:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ReleaseError, match="not what was verified"):
        exact.opened(found)


def test_one_that_was_only_touched_is_run(layout: Layout) -> None:
    found, path = choose(launch(layout)), server(layout)
    os.utime(path)
    assert run(found)[:2] == (f"{layout.root}/mark\n", 0)


def test_one_that_is_swapped_after_that_changes_nothing(layout: Layout) -> None:
    """Also `current`, and a folder on the way."""
    found = choose(launch(layout))
    server(layout)
    meanwhile = f"""
os.rename(path, path + ".old")
shutil.copy({str(EVIL)!r}, path)
os.rename({str(layout.versions)!r}, {str(layout.root / "moved")!r})
"""
    assert run(found, meanwhile)[:2] == (f"{layout.root}/mark\n", 0)
    assert not marked(layout)


@needs_root
def test_who_would_write_after_that_waits_and_it_is_not_run(layout: Layout) -> None:
    found = choose(launch(layout))
    server(layout)
    meanwhile = """
try:
    os.open(path, os.O_WRONLY | os.O_NONBLOCK)
except BlockingIOError:
    print("waits", flush=True)
"""
    said, status, told = run(found, meanwhile)
    assert (said, status) == ("waits\n", 126)
    assert "has changed since it was verified" in told


@needs_root
def test_where_no_lease_is_to_be_had_the_last_change_tells(layout: Layout) -> None:
    found = choose(launch(layout))
    server(layout)
    write = """
with open(path, "r+b") as file:
    file.write(b"x")
"""
    said, status, told = run(found, write, before="exact._lease = lambda *_: False")
    assert (said, status) == ("", 126)
    assert "has changed since it was verified" in told


@needs_root
def test_one_that_is_open_for_writing_is_refused(layout: Layout) -> None:
    found = choose(launch(layout))
    with server(layout).open("r+b"), pytest.raises(ReleaseError, match="is open for writing"):
        exact.opened(found)


def test_a_server_has_its_name_its_environment_and_no_file_of_ours(layout: Layout) -> None:
    put(layout, Path("/bin/sh").resolve(), "v2")
    shell = r"echo $0; readlink /proc/$$/exe; cat /proc/$$/comm; grep SigIgn /proc/$$/status; ls /proc/$$/fd; env"
    argv = (f"{layout.current_link}/server", "-c", shell)
    found = choose(replace(launch(layout), argv=argv), "v2")
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONPATH": "/nowhere"}
    make = f"made = command\ncommand = lambda *argv, **more: made(*argv, **more, environment={env!r})"
    said, status, told = run(found, before=make)
    assert (status, told) == (0, "")
    path = str(layout.folder("v2") / "server")
    name, exe, comm, ignored, *rest = said.splitlines()
    assert (name, exe) == (path, path)
    assert comm == "server" or os.uname().release < "6.14"
    assert int(ignored.split()[1], 16) & (1 << 12 | 1 << 24) == 0, "SIGPIPE and SIGXFSZ"
    fds = [line for line in rest if line.isdecimal()]
    assert fds == ["0", "1", "2"], rest
    assert {"LC_ALL=C", "PYTHONPATH=/nowhere"} <= set(rest)
    assert not any(line.startswith("LC_CTYPE=") for line in rest)


def test_an_interpreter_outside_of_the_store_is_run_by_its_name(layout: Layout) -> None:
    """Its digest becomes known beside the start, and says nothing about what was sealed."""
    script = str(layout.current_link / "server")
    found = choose(Launch(argv=("/bin/sh", script), store=Store(root=str(layout.root))))
    assert (found.sealed is None, found.sha256) == (False, None)
    for digest in (None, "", "0" * 64):
        assert exact.opened(choose_again(replace(found, sha256=digest))) is None
