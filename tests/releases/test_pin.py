"""From a command to a release: each refusal made with a real file, and each way to name one."""

import os
import shutil
import stat
import struct
import subprocess
import sys
import venv
from contextlib import suppress
from pathlib import Path

import pytest

from supervisor.core.launch import Launch
from supervisor.core.model import Release
from supervisor.core.value import replace
from supervisor.errors import ReleaseError
from supervisor.releases.digest import digest
from supervisor.releases.pin import pin, pin_again, recall
from tests.harness import builds

TRUE = Path(shutil.which("true") or "/bin/true").resolve()


def pinned(path: Path | str, directory: Path | str = "/") -> Release:
    return pin(Launch(argv=(str(path), "--flag"), directory=str(directory)))


def refused(path: Path | str, directory: Path | str = "/") -> str:
    with pytest.raises(ReleaseError) as error:
        pinned(path, directory)
    return str(error.value)


def program(path: Path, content: bytes | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(TRUE.read_bytes() if content is None else content)
    path.chmod(0o755)
    return path


def test_a_program_of_this_machine_is_pinned(tmp_path: Path) -> None:
    found = pinned(program(tmp_path / "server"))
    status = (tmp_path / "server").stat()
    assert found.path == str(tmp_path / "server")
    assert (found.device, found.inode, found.size) == (status.st_dev, status.st_ino, status.st_size)
    assert found.launch.argv == (found.path, "--flag")
    assert found.id.startswith("server+")


def test_programs_from_everywhere_are_taken() -> None:
    for each in ("/bin/sh", sys.executable, builds.go_server("v1"), "/usr/bin/perl"):
        assert pinned(each).size > 0


def test_one_of_another_machine() -> None:
    assert "is built for" in refused(builds.foreign_go_program())


@pytest.mark.parametrize(("number", "name"), [(183, "aarch64"), (22, "s390x"), (4711, "machine 4711")])
def test_one_of_another_machine_by_its_header(tmp_path: Path, number: int, name: str) -> None:
    if os.uname().machine == name:
        pytest.skip(f"this is a {name}, whose programs run here")
    for order, encoding in (("<", 1), (">", 2)):
        header = struct.pack("4sBB10x", b"\x7fELF", 2, encoding) + struct.pack(
            f"{order}HHIQQQIHHH", 2, number, *[0] * 8
        )
        assert f"is built for {name}" in refused(program(tmp_path / "server", header + bytes(100)))


@pytest.mark.parametrize("kept", [5, 17, 30, 63, 100, 4096])
def test_one_that_is_cut_short(tmp_path: Path, kept: int) -> None:
    assert "is cut short" in refused(program(tmp_path / "server", TRUE.read_bytes()[:kept]))


def test_one_that_lacks_its_last_page(tmp_path: Path) -> None:
    go = builds.go_server("v1").read_bytes()
    assert "copy it again" in refused(program(tmp_path / "server", go[: len(go) * 3 // 4]))


def test_noise_is_refused_and_nothing_worse(tmp_path: Path) -> None:
    whole = TRUE.read_bytes()
    for at in range(4, 120):
        for byte in (0x00, 0xFF, 0x7F):
            program(tmp_path / "server", whole[:at] + bytes([byte]) + whole[at + 1 :])
            with suppress(ReleaseError):
                pinned(tmp_path / "server")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it is empty"),
        (b"\x7fEL", "may be damaged"),
        (b"echo hello\n", "a script without its first line"),
        (b"MZ\x90\x00", "for Windows"),
        (b"\xcf\xfa\xed\xfe\x07", "for macOS"),
        (b"\x1f\x8b\x08\x00", "an archive, unpack it"),
        (b"#!/bin/sh\r\necho\r\n", "CR LF"),
        (b"#!/bin/sh -e\r\n", "CR LF"),
        (b"#!\n", "names no interpreter"),
        (b"#!   \n", "names no interpreter"),
        (b"#!/no/such/interpreter -x\n", "script for /no/such/interpreter, which is not there"),
        (b"#!/etc/passwd\n", "not executable"),
    ],
)
def test_what_is_neither_program_nor_script(tmp_path: Path, content: bytes, told: str) -> None:
    assert told in refused(program(tmp_path / "server", content))


def test_what_the_kernel_would_say_is_the_same(tmp_path: Path) -> None:
    """The refusals above are not ours alone: execve refuses each of these files too."""
    for content in (b"", b"echo\n", b"#!/bin/sh\r\n", b"#!\n", b"#!/no/such\n", TRUE.read_bytes()[:60]):
        path = program(tmp_path / "server", content)
        with pytest.raises(OSError, match=r"Exec format|No such file|Permission"):
            subprocess.run([path], check=False, timeout=10)


def test_a_script_is_taken(tmp_path: Path) -> None:
    for line in (b"#!/bin/sh\n", b"#! /usr/bin/env sh\n", b"#!/bin/sh"):
        assert pinned(program(tmp_path / "server", line)).size == len(line)


def test_one_whose_loader_is_missing(tmp_path: Path) -> None:
    content = TRUE.read_bytes()
    at = content.index(b"/lib")
    changed = content[:at] + content[at:].replace(b"/ld-", b"/xx-", 1)
    assert "which this host lacks" in refused(program(tmp_path / "server", changed))


def test_an_object_file(tmp_path: Path) -> None:
    content = bytearray(TRUE.read_bytes())
    content[16] = 1  # ET_REL
    assert "no program" in refused(program(tmp_path / "server", bytes(content)))


def test_one_that_is_not_executable(tmp_path: Path) -> None:
    program(tmp_path / "server").chmod(0o644)
    assert refused(tmp_path / "server").endswith(f"is not executable: chmod +x {tmp_path}/server")


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o755)
    for path in (tmp_path, tmp_path / "pipe", "/dev/null"):
        assert "is not a file" in refused(path)


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("gone")
    (tmp_path / "circle").symlink_to("circle")
    assert "dangling leads to gone, which is not there" in refused(tmp_path / "dangling")
    told = refused(tmp_path / "circle")
    assert "circle" in told or "symbolic links" in told
    assert "Not a directory" in refused(f"{TRUE}/server")


def test_links_are_followed_to_the_end(tmp_path: Path) -> None:
    program(tmp_path / "v1" / "server")
    (tmp_path / "current").symlink_to("v1")
    assert pinned(tmp_path / "current" / "server").path == str(tmp_path / "v1" / "server")


def test_a_python_of_an_environment_keeps_its_name(tmp_path: Path) -> None:
    """Resolved, it would be the system's and find none of its packages."""
    venv.create(tmp_path / "v1", symlinks=True)
    (tmp_path / "current").symlink_to("v1")
    found = pinned(tmp_path / "current" / "bin" / "python3")
    assert found.path == str(tmp_path / "v1" / "bin" / "python3")
    prefix = subprocess.check_output([found.path, "-c", "import sys; print(sys.prefix)"], text=True)
    assert prefix.strip() == str(tmp_path / "v1")
    assert found.inode == Path(sys.executable).stat().st_ino


def test_a_name_is_looked_up_in_the_path_of_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "mine" / "server")
    monkeypatch.setenv("PATH", "/nonexistent")
    environment = (("PATH", f"/nonexistent:{tmp_path}/mine"),)
    found = pin(Launch(argv=("server",), environment=environment))
    assert found.path == str(tmp_path / "mine" / "server")
    assert "server is not in PATH (/nonexistent): give its full path" in refused("server")


def test_a_relative_name_is_seen_from_the_server_s_folder(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "server")
    assert pinned("./bin/server", tmp_path).path == str(tmp_path / "bin" / "server")
    assert "No such file" in refused("./bin/server", "/")


@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("versions/1.2.3/server", "1.2.3"),
        ("versions/1.2.3/bin/server", "1.2.3"),
        ("versions/server", "server"),
        ("releases/9/web", "web"),
    ],
)
def test_a_release_is_called_after_its_version(tmp_path: Path, where: str, name: str) -> None:
    assert pinned(program(tmp_path / where)).id.startswith(f"{name}+")


def test_a_changed_file_is_another_release(tmp_path: Path) -> None:
    path = program(tmp_path / "server")
    first = pinned(path)
    assert pinned(path) == first
    assert pin_again(first) is first
    os.utime(path, ns=(1, 1))
    assert pinned(path).id != first.id
    assert pin_again(first).mtime_ns == 1


def test_a_release_can_be_returned_to_while_its_file_is_as_it_was(tmp_path: Path) -> None:
    path = program(tmp_path / "server")
    kept = tmp_path / "kept"
    shutil.copy2(path, kept)
    first = pinned(path)
    served = replace(first, sha256=digest(str(path)))
    assert recall(served) is served
    program(path, path.read_bytes() + b"more")
    with pytest.raises(ReleaseError, match="has changed since it served; put the old file back"):
        recall(served)
    path.unlink()
    with pytest.raises(ReleaseError, match=r"cannot be returned to: .* No such file"):
        recall(served)
    shutil.copy(kept, path)
    again = recall(served)
    assert (again.sha256, again.inode) == (served.sha256, path.stat().st_ino)
    with pytest.raises(ReleaseError, match="has changed"):
        recall(replace(first, mtime_ns=1))  # it was never seen whole: nothing says that it is the same


def test_one_that_may_not_be_read(tmp_path: Path) -> None:
    path = program(tmp_path / "server")
    path.chmod(stat.S_IXUSR)
    if os.geteuid() == 0:
        assert pinned(path).size
    else:
        assert "cannot be read: Permission denied" in refused(path)
