"""Archives that an enemy has made: each is refused for what is wrong with it, and nothing of it is left."""

import bz2
import gzip
import io
import lzma
import os
import random
import string
import tarfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.errors import ReleaseError
from supervisor.releases import archive
from supervisor.releases.intake import Intake, Limits
from supervisor.releases.manifest import Item

Member = tuple[tarfile.TarInfo, bytes]
LIMITS = Limits(size=1 << 20, count=50)


def member(
    name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, target: str = "", mode: int = 0o644
) -> Member:
    made = tarfile.TarInfo(name)
    made.size, made.type, made.linkname, made.mode = len(content), kind, target, mode
    return made, content


def packed(members: Sequence[Member], form: int = tarfile.PAX_FORMAT) -> bytes:
    written = io.BytesIO()
    with tarfile.TarFile(fileobj=written, mode="w", format=form) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return written.getvalue()


def unpacked(data: bytes, folder: Path, limits: Limits = LIMITS) -> dict[str, Item]:
    folder.mkdir()
    taken = Intake(folder, limits)
    archive.unpack(io.BytesIO(data), len(data), taken)
    return {each.path: each for each in taken.seal()}


def refused(data: bytes, folder: Path, limits: Limits = LIMITS) -> str:
    with pytest.raises(ReleaseError) as error:
        unpacked(data, folder, limits)
    return str(error.value)


HOSTILE = {
    "leads out": [member("../evil")],
    "evil leads out of the release": [member("a/../../evil")],
    "is a full path": [member("/etc/evil")],
    "want links within the release": [member("link", kind=tarfile.SYMTYPE, target="/etc/passwd")],
    "which leads out of the release": [member("a/link", kind=tarfile.SYMTYPE, target="../../x")],
    "want .. at its beginning alone": [member("d", kind=tarfile.SYMTYPE, target="x/../.."), member("e")],
    "is there twice": [member("a", b"1"), member("a", b"2")],
    "a is there twice": [member("a", kind=tarfile.SYMTYPE, target="b"), member("a/evil", b"1")],
    "is a hard link": [member("a", b"1"), member("b", kind=tarfile.LNKTYPE, target="a")],
    "is a device": [member("a", kind=tarfile.CHRTYPE)],
    "b is a device": [member("b", kind=tarfile.BLKTYPE)],
    "is a FIFO": [member("a", kind=tarfile.FIFOTYPE)],
    "set-user-ID": [member("a", mode=0o4755)],
    "set-group-ID": [member("a", mode=0o2755)],
    "cannot be shown": [member("a\nb")],
    "that are not UTF-8": [member("a\udcff")],
    "cannot be shown, or": [member("a\u202eexe.gpj")],
    "is too long": [member("a" * 256)],
    "at most 255 bytes": [member("/".join(["a" * 200] * 6))],
    "name of gapless's own": [member(".gapless.json", b"{}")],
    "is no plain path": [member("a//b")],
    "more than 50 files": [member(f"file-{number}") for number in range(51)],
    "more than 1048576 bytes": [member("a", bytes(700_000)), member("b", bytes(700_000))],
}


@pytest.mark.parametrize("why", HOSTILE)
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT], ids=["pax", "gnu"])
def test_what_an_archive_may_not_have(tmp_path: Path, why: str, form: int) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    assert why in refused(gzip.compress(packed(HOSTILE[why], form)), folder / "v")
    assert not (tmp_path / "evil").exists()
    assert [each.name for each in folder.iterdir()] == ["v"]


def test_nothing_is_written_through_a_link_that_was_made_before(tmp_path: Path) -> None:
    """Not even through one that somebody else puts there while it is unpacked."""
    (tmp_path / "out").mkdir()
    taken = Intake(tmp_path / "in")
    taken.folder.mkdir()
    taken.add_folder("a")
    (tmp_path / "in/a").rmdir()
    (tmp_path / "in/a").symlink_to(tmp_path / "out")
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        taken.add_file("a/evil", 0o644, 1, io.BytesIO(b"x"))
    assert not list((tmp_path / "out").iterdir())


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


@pytest.mark.parametrize("how", PACKERS)
def test_what_an_archive_may_have(tmp_path: Path, how: str) -> None:
    members = [
        member("./", kind=tarfile.DIRTYPE),
        member("bin/", kind=tarfile.DIRTYPE),
        member("bin/server", b"program", mode=0o700),
        member("etc/deep/é.toml", b"x = 1", mode=0o666),
        member("bin/other", kind=tarfile.SYMTYPE, target="../etc/deep/é.toml"),
        member("empty", b""),
    ]
    data = PACKERS[how](packed(members))
    assert archive.is_archive(data[:512])
    found = unpacked(data, tmp_path / "v")
    kinds = {path: (each.kind, each.mode, each.size) for path, each in found.items()}
    assert kinds == {
        "bin": ("folder", 0o555, 0),
        "bin/other": ("link", 0, 0),
        "bin/server": ("file", 0o555, 7),
        "empty": ("file", 0o444, 0),
        "etc": ("folder", 0o555, 0),
        "etc/deep": ("folder", 0o555, 0),
        "etc/deep/é.toml": ("file", 0o444, 5),
    }
    assert (tmp_path / "v/bin/other").read_bytes() == b"x = 1"


@pytest.mark.parametrize("how", ["gzip", "bzip2", "xz"])
def test_a_bomb_is_given_up_at_its_ratio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(archive, "_FREE", 1 << 20)
    data = PACKERS[how](packed([member("zeros", bytes(16 << 20))]))
    assert "times its size" in refused(data, tmp_path / "v", Limits())


def test_a_header_that_wants_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 1 << 30
    assert "has a header of" in refused(info.tobuf(), tmp_path / "v")


def test_xz_that_wants_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_XZ_MEMORY", 1 << 20)
    assert "damaged" in refused(lzma.compress(packed([member("a")])), tmp_path / "v")


def test_headers_within_headers_without_end(tmp_path: Path) -> None:
    info = tarfile.TarInfo("long")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1
    assert "damaged" in refused((info.tobuf() + bytes(512)) * 5000, tmp_path / "v")


@pytest.mark.parametrize("how", PACKERS)
def test_one_that_is_cut_short(tmp_path: Path, how: str) -> None:
    data = PACKERS[how](packed([member("a", random.Random(1).randbytes(100_000))]))  # noqa: S311 - what does not pack
    refused(data[: len(data) // 2], tmp_path / "v")


@pytest.mark.parametrize("head", [b"PK\x03\x04", b"\x28\xb5\x2f\xfd"])
def test_what_is_packed_in_another_way(head: bytes) -> None:
    with pytest.raises(ReleaseError, match="want a tar"):
        archive.is_archive(head)


NAMES = st.text(alphabet=st.one_of(st.sampled_from("./\\ a-"), st.characters()), min_size=1, max_size=40)


@settings(max_examples=80, deadline=None)
@given(names=st.lists(st.tuples(NAMES, st.sampled_from(["file", "folder", "link"]), NAMES), max_size=6))
def test_whatever_the_names_are_all_that_is_made_is_inside(
    tmp_path_factory: pytest.TempPathFactory, names: list[tuple[str, str, str]]
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    folder = outside / "deep/in"
    folder.mkdir(parents=True)
    taken = Intake(folder)
    for name, kind, target in names:
        try:
            match kind:
                case "file":
                    taken.add_file(name, 0o644, 1, io.BytesIO(b"x"))
                case "folder":
                    taken.add_folder(name)
                case _:
                    taken.add_link(name, target)
        except ReleaseError:
            continue
    assert {str(each.relative_to(folder)) for each in folder.rglob("*")} == set(taken.items)
    assert [each.name for each in outside.iterdir()] == ["deep"]
    assert [each.name for each in folder.parent.iterdir()] == ["in"]
    for path in taken.items:
        assert f"{os.path.realpath(folder / path)}/".startswith(f"{os.path.realpath(folder)}/")


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=2000), at=st.integers(0, 3000))
def test_damage_is_refused_or_does_nothing(tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int) -> None:
    whole = packed([member("bin/server", string.ascii_letters.encode()), member("b", b"2")])
    damaged = whole[:at] + data + whole[at + len(data) :]
    folder = tmp_path_factory.mktemp("v")
    taken = Intake(folder, LIMITS)
    with suppress(ReleaseError):
        archive.unpack(io.BytesIO(damaged), len(damaged), taken)
    assert {str(each.relative_to(folder)) for each in folder.rglob("*") if not each.is_file()} <= set(taken.items)
