"""A version is added: what may be one, what it was checked by, and that it is there whole or not at all."""

import json
import os
import shutil
import stat
import tarfile
from pathlib import Path

import pytest

from supervisor.errors import HostError, OperatorError, ReleaseError
from supervisor.releases import layout as layouts
from supervisor.releases import prune, seal
from supervisor.releases.layout import Layout
from supervisor.releases.manifest import NAME, read
from supervisor.releases.verify import check_policy, verify
from tests.releases.stores import left, offer, put, sha256, store


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "web")
    made.make()
    return made


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "server"
    path.write_bytes(b"#!/bin/sh\necho v1\n")
    path.chmod(0o750)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "build"
    (made / "static/deep").mkdir(parents=True)
    (made / "server").write_bytes(b"#!/bin/sh\n")
    (made / "server").chmod(0o4755 & 0o755)
    (made / "static/deep/page").write_bytes(b"hello")
    (made / "page").symlink_to("static/deep/page")
    return made


def test_a_file(layout: Layout, program: Path) -> None:
    found = put(layout, offer(program, sha256=sha256(program))).manifest
    there = layout.folder("v1")
    assert (there / "server").read_bytes() == program.read_bytes()
    assert stat.S_IMODE((there / "server").stat().st_mode) == 0o555
    assert stat.S_IMODE(there.stat().st_mode) == 0o555
    assert stat.S_IMODE((there / NAME).stat().st_mode) == 0o444
    assert read(there) == found
    assert (found.origin, found.origin_sha256, found.uid) == (str(program), sha256(program), os.getuid())
    assert [(each.kind, each.by) for each in found.checks] == [("sha256", sha256(program))]
    assert [each.name for each in layout.root.iterdir() if each.name not in {"versions", "backups"}] == []
    assert left(layout) == []


def test_a_file_under_another_name(layout: Layout, program: Path) -> None:
    put(layout, offer(program, name="other"))
    assert (layout.folder("v1") / "other").exists()


def test_a_folder_and_an_archive_of_it_are_the_same(layout: Layout, folder: Path, tmp_path: Path) -> None:
    one = put(layout, offer(folder)).manifest
    with tarfile.open(tmp_path / "build.tar.gz", "w:gz") as tar:
        tar.add(folder, ".")
    two = put(layout, offer(tmp_path / "build.tar.gz", "v2")).manifest
    assert one.digest == two.digest
    assert [each.path for each in one.items] == ["page", "server", "static", "static/deep", "static/deep/page"]
    assert verify(layout.folder("v2"), two).keys() == {"server", "static/deep/page"}
    assert put(layout, offer(layout.folder("v1"), "v3")).manifest.digest == one.digest, "a version, added as another"


def test_one_that_is_there_already(layout: Layout, program: Path) -> None:
    assert put(layout, offer(program)).new
    before = read(layout.folder("v1"))
    again = put(layout, offer(program))
    assert (again.new, again.manifest) == (False, before)
    program.write_bytes(b"#!/bin/sh\necho another\n")
    with pytest.raises(OperatorError, match="is there already, and is another"):
        put(layout, offer(program))
    assert read(layout.folder("v1")) == before
    assert left(layout) == []


def test_a_wrong_digest(layout: Layout, program: Path, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="is not what it should be"):
        put(layout, offer(program, sha256="0" * 64))
    sums = tmp_path / "SHA256SUMS"
    sums.write_text(f"{'0' * 64}  server\n")
    with pytest.raises(ReleaseError, match="is not what it should be"):
        put(layout, offer(program, sha256=sums))
    sums.write_text(f"{sha256(program)}  another\n")
    with pytest.raises(ReleaseError, match="does not name it"):
        put(layout, offer(program, sha256=sums))
    assert layout.names() == left(layout) == []


def test_a_truncated_file(layout: Layout, program: Path) -> None:
    wanted = sha256(program)
    os.truncate(program, 5)
    with pytest.raises(ReleaseError, match="is not what it should be"):
        put(layout, offer(program, sha256=wanted))


def test_a_folder_by_a_file_of_digests(layout: Layout, folder: Path) -> None:
    sums = folder / "SHA256SUMS"
    lines = [f"{sha256(folder / name)}  {name}\n" for name in ("server", "static/deep/page")]
    sums.write_text("".join(lines))
    found = put(layout, offer(folder, sha256=sums)).manifest
    assert found.checked_by == {"sha256"}
    sums.write_text(lines[0])
    with pytest.raises(ReleaseError, match="static/deep/page"):
        put(layout, offer(folder, "v2", sha256=sums))
    sums.write_text("".join([*lines, f"{'0' * 64}  lost\n"]))
    with pytest.raises(ReleaseError, match="lost is not there"):
        put(layout, offer(folder, "v2", sha256=sums))


def test_what_can_be_no_release(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "with-fifo").mkdir()
    os.mkfifo(tmp_path / "with-fifo/fifo")
    (tmp_path / "with-link").mkdir()
    (tmp_path / "with-link/link").symlink_to("/etc/passwd")
    setuid = tmp_path / "setuid"
    setuid.touch()
    setuid.chmod(0o4755)
    for name, why in (
        ("empty", "has no file in it"),
        ("fifo", "is no file and no folder"),
        ("with-fifo", "is no file, folder or link"),
        ("with-link", "want links within the release"),
        ("setuid", "is set-user-ID"),
        ("nowhere", "is not there"),
    ):
        with pytest.raises(OperatorError, match=why):
            put(layout, offer(tmp_path / name))
    assert layout.names() == left(layout) == []


def test_what_is_required_has_to_be_given(layout: Layout, program: Path) -> None:
    rules = store(layout.root, "sha256", "signature")
    with pytest.raises(OperatorError, match='require has "sha256"'):
        put(layout, offer(program), rules)
    with pytest.raises(OperatorError, match='require has "signature"'):
        put(layout, offer(program, sha256=sha256(program)), rules)


def test_the_policy_looks_at_what_was_checked_and_at_who_could_have_said_so(layout: Layout, program: Path) -> None:
    put(layout, offer(program))
    put(layout, offer(program, "v2", sha256=sha256(program)))
    rules, there = store(layout.root, "sha256"), layout.folder("v2")
    one, two = (read(layout.folder(each)) for each in ("v1", "v2"))
    assert one is not None
    assert two is not None
    with pytest.raises(ReleaseError, match="was added without a sha256"):
        check_policy(layout.folder("v1"), one, rules)
    check_policy(there, two, rules)
    for path in (there / NAME, there, layout.versions, layout.root):
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode | 0o020)
        with pytest.raises(ReleaseError, match="may be written to by others"):
            check_policy(there, two, rules)
        path.chmod(mode)
    check_policy(there, two, rules)


def spoil(there: Path, how: str) -> None:
    there.chmod(0o755)
    there.chmod(0o755)
    mode = stat.S_IMODE((there / "server").stat().st_mode)
    (there / "server").chmod(0o755)  # an ordinary user has to, and then it is as it was
    match how:
        case "has changed":
            (there / "server").write_bytes(b"#!/bin/sh\necho v2\n")
            (there / "server").chmod(mode)
        case "bytes of":
            os.truncate(there / "server", 5)
            (there / "server").chmod(mode)
        case "is missing":
            (there / "server").unlink()
        case "was not there":
            (there / "more").touch()
            (there / "server").chmod(mode)
        case "has mode":
            (there / "server").chmod(0o755)
        case "is another":
            (there / "server").unlink()
            (there / "server").symlink_to("/bin/sh")
        case "neither file":
            (there / "server").unlink()
            os.mkfifo(there / "server")
    there.chmod(0o555)


@pytest.mark.parametrize(
    "how", ["has changed", "bytes of", "is missing", "was not there", "has mode", "is another", "neither file"]
)
def test_a_version_that_is_not_what_it_was(layout: Layout, program: Path, how: str) -> None:
    found = put(layout, offer(program)).manifest
    verify(layout.folder("v1"), found)
    spoil(layout.folder("v1"), how)
    with pytest.raises(ReleaseError, match=how):
        verify(layout.folder("v1"), found)


def test_one_at_a_time_and_the_lock_goes_with_its_holder(layout: Layout) -> None:
    with layout.alone(), pytest.raises(HostError, match=f"is being changed by pid {os.getpid()}"), layout.alone():
        pass
    with layout.alone():
        pass


def test_what_was_interrupted_is_swept_and_told(layout: Layout, program: Path) -> None:
    put(layout, offer(program))
    shutil.copytree(layout.folder("v1"), layout.versions / ".adding.v2")
    (layout.versions / ".taking.v2").touch()
    layout.folder("v1").rename(layout.versions / ".removing.v1")
    (layout.root / ".current.new").symlink_to("versions/v1")
    with layout.alone():
        assert seal.sweep(layout) == ["a move of current", "the adding of v2", "the removal of v1"]
    assert layout.names() == left(layout) == []


def test_removing_and_pruning_leave_what_is_needed(layout: Layout, program: Path) -> None:
    for number in range(1, 7):
        put(layout, offer(program, f"v{number}"))
    kept = {"v2": "is current"}
    with layout.alone():
        with pytest.raises(OperatorError, match="v2 stays: it is current"):
            prune.remove(layout, "v2", kept)
        with pytest.raises(OperatorError, match="there is no version v9"):
            prune.remove(layout, "v9", kept)
        prune.remove(layout, "v1", kept)
        assert prune.prune(layout, 2, kept) == ["v3", "v4"]
        assert layout.names() == ["v2", "v5", "v6"]
        assert prune.prune(layout, 2, kept) == []
    assert left(layout) == []


def test_current_is_moved_if_it_leads_where_it_is_thought_to(layout: Layout, program: Path) -> None:
    for name in ("v1", "v2", "v3"):
        put(layout, offer(program, name))
    assert layout.current() is None
    assert layout.point("v1", (None,))
    assert str(layout.current_link.readlink()) == "versions/v1"
    assert not layout.point("v2", ("v3", None))
    assert layout.current() == "v1"
    assert layout.point("v2", ("v3", "v1"))
    assert not layout.point("v2", ("v2",))
    for text in (f"{layout.versions}/v3", "./versions/v3/", "versions/../versions/v3"):
        layout.current_link.unlink()
        layout.current_link.symlink_to(text)
        assert layout.current() == "v3"
    for text in ("versions", "versions/v3/server", "/bin", "versions/.x"):
        layout.current_link.unlink()
        layout.current_link.symlink_to(text)
        assert layout.current() is None
    layout.current_link.unlink()
    layout.current_link.mkdir()
    assert not layout.may_point()
    with pytest.raises(IsADirectoryError):
        layout.point("v1", (None,))
    assert left(layout) == []


def test_a_manifest_that_was_forged_is_no_manifest(layout: Layout, program: Path) -> None:
    put(layout, offer(program))
    path = layout.folder("v1") / NAME
    said = json.loads(path.read_text())
    said["items"][0]["sha256"] = "0" * 64
    path.chmod(0o644)
    path.write_text(json.dumps(said))
    with pytest.raises(ReleaseError, match="digest is not that of what it lists"):
        read(layout.folder("v1"))


def test_one_root_is_followed_by_one(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    first = layout.claim()
    with pytest.raises(HostError, match=rf"is followed by another service \(pid {os.getpid()}\)"):
        layout.claim()
    os.close(first)
    os.close(layout.claim())


def test_a_version_that_goes_while_they_are_listed_is_none(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    with os.scandir(tmp_path) as entries:
        (entry,) = entries
        (tmp_path / "v1").rmdir()
        assert layouts._made(entry) == 0
