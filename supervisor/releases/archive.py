"""An archive (tar, plain or packed by gzip, bzip2 or xz), read as what an enemy may have made.

It is read once, from the front, and what is in it handed on, member by member: to `intake`, which takes no name on
trust, where it is a release, and to `restore` where it is a backup. What else an archive can do is refused here:
devices, FIFOs, hard links, a header that wants memory, and a small file that unpacks without end.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from typing import TYPE_CHECKING, BinaryIO, cast

from msgspec import Struct

from supervisor.errors import ReleaseError
from supervisor.releases.manifest import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from supervisor.releases.intake import Intake

_BLOCK = 512
_LARGEST_HEADER = 1 << 20
"""Bytes that tarfile may want at once: a long name takes 4096, a header of extended attributes some thousand."""
_XZ_MEMORY = 256 << 20
"""Bytes; xz -9 needs 65 MiB to unpack."""
_FREE = 64 << 20
"""Bytes that may come of an archive of whatever size."""
_RATIO = 200
"""How many times larger than the archive its content may be beyond that. A program of zeros packs a thousandfold."""

_BROKEN = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError, ValueError, OverflowError, RecursionError)
"""What the readers of the standard library raise for an archive that is damaged. They read a long name by recursion."""


class _Xz(io.RawIOBase):
    """What xz has packed, by a decompressor with an end to its memory, which lzma.LZMAFile does not have."""

    def __init__(self, packed: BinaryIO) -> None:
        self._packed = packed
        self._stream = lzma.LZMADecompressor(memlimit=_XZ_MEMORY)

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Up to so many bytes; none at the end."""
        while not self._stream.eof:
            more = self._packed.read(1 << 16) if self._stream.needs_input else b""
            if self._stream.needs_input and not more:
                raise EOFError("it ends too early")
            if piece := self._stream.decompress(more, max_length=size):
                return piece
        return b""


_PACKED: Mapping[bytes, Callable[[BinaryIO], BinaryIO]] = {
    b"\x1f\x8b": lambda file: cast("BinaryIO", gzip.GzipFile(fileobj=file)),
    b"BZh": lambda file: cast("BinaryIO", bz2.BZ2File(file)),
    b"\xfd7zXZ\x00": lambda file: cast("BinaryIO", _Xz(file)),
}
_UNKNOWN = {b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}


class _Forward(io.RawIOBase):
    """A stream that tarfile reads as if it were a file: forward alone, not too much at once, and not without end."""

    def __init__(self, content: BinaryIO, most: int) -> None:
        self._content = content
        self._most = most
        self._at = 0

    def tell(self) -> int:
        """How much has been read."""
        return self._at

    def seek(self, to: int, whence: int = io.SEEK_SET, /) -> int:
        """Read over what is not wanted."""
        if whence != io.SEEK_SET or to < self._at:
            raise tarfile.ReadError("its headers lead backwards")
        while self._at < to:
            if not self.read(min(to - self._at, _LARGEST_HEADER)):
                break
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """As many bytes as are wanted, or as there are."""
        if not 0 <= size <= _LARGEST_HEADER:
            raise ReleaseError(f"the archive has a header of {size} bytes: it is none that a release needs")
        pieces = []
        while size and (piece := self._content.read(size)):
            pieces.append(piece)
            size -= len(piece)
            self._at += len(piece)
            if self._at > self._most:
                raise ReleaseError(
                    f"the archive unpacks to more than {self._most} bytes, {_RATIO} times its size: that is no release"
                )
        return b"".join(pieces)


def is_archive(head: bytes) -> bool:
    """Whether a file that begins so is to be unpacked. Raises ReleaseError for one that is packed in another way."""
    for magic, name in _UNKNOWN.items():
        if head.startswith(magic):
            raise ReleaseError(f"it is packed by {name}: want a tar, plain or packed by gzip, bzip2 or xz")
    return head[257:262] == b"ustar" or any(head.startswith(magic) for magic in _PACKED)


class Member(Struct, frozen=True, kw_only=True):
    """One thing in an archive, as that says; nothing of it is to be trusted."""

    path: str
    kind: str
    """file, folder or link"""
    mode: int = 0
    size: int = 0
    target: str = ""
    """Of a link."""
    content: BinaryIO | None = None
    """Of a file: it can be read until the next member is."""


def unpack(archive: BinaryIO, size: int, intake: Intake) -> None:
    """Take in all that is in an archive of that size. Raises ReleaseError, with some of it taken."""

    def take(member: Member) -> None:
        if member.kind == "folder":
            intake.add_folder(member.path)
        elif member.kind == "link":
            intake.add_link(member.path, member.target)
        elif member.content is not None:
            intake.add_file(member.path, member.mode, member.size, member.content)

    read(archive, size, intake.limits.size, take)


def read(archive: BinaryIO, size: int, most: int, take: Callable[[Member], None]) -> None:
    """Hand on all that is in an archive of that size, in order, up to its very end.

    `most` is how large one may be that is not packed. Raises ReleaseError, with some of it handed on.
    """
    head = archive.read(_BLOCK)
    archive.seek(0)
    opened = next((opens for magic, opens in _PACKED.items() if head.startswith(magic)), None)
    content = archive if opened is None else opened(archive)
    forward = _Forward(content, most if opened is None else _FREE + _RATIO * size)
    try:
        with tarfile.TarFile(fileobj=forward, errorlevel=2) as tar:
            while (member := tar.next()) is not None:
                if (found := _member(tar, member)) is not None:
                    take(found)
                vars(tar)["members"] = []  # it would keep a list of all
        while forward.read(_LARGEST_HEADER):  # what packs it has a checksum, and that is at its end
            pass
    except ReleaseError as refused:
        raise ReleaseError(f"the archive is refused: {refused}") from None
    except _BROKEN as broken:
        if isinstance(broken, OSError) and broken.errno is not None:
            raise
        raise ReleaseError(f"the archive is damaged ({shown(str(broken))}): copy it again") from broken


def _member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Member | None:
    """What it is; None: the folder that all is in. Raises ReleaseError for what may not be in an archive."""
    path = member.name.removeprefix("./").rstrip("/") if member.isdir() else member.name.removeprefix("./")
    if member.isdir():
        return None if path in {"", "."} else Member(path=path, kind="folder", mode=member.mode)
    if member.issym():
        return Member(path=path, kind="link", target=member.linkname)
    if member.isreg() and not member.issparse():
        content = tar.extractfile(member)
        return Member(
            path=path, kind="file", mode=member.mode, size=member.size, content=cast("BinaryIO | None", content)
        )
    raise ReleaseError(f"{shown(member.name)} is {_kind(member)}: want files, folders and links by name")


def _kind(member: tarfile.TarInfo) -> str:
    kinds = {tarfile.LNKTYPE: "a hard link (pack it with tar --hard-dereference)", tarfile.FIFOTYPE: "a FIFO"}
    devices = {tarfile.CHRTYPE: "a device", tarfile.BLKTYPE: "a device"}
    return (kinds | devices).get(member.type, "a sparse file" if member.issparse() else "of a kind of its own")
