"""Programs that are wrong in one way each, made of real ones; and small ones made by hand."""

import shutil
import struct
from pathlib import Path

from supervisor.releases.preflight.golang import MAGIC

TRUE = Path(shutil.which("true") or "/bin/true").resolve()
"""Linked dynamically, against glibc, and small."""
_NOTE = struct.pack("<III4sI", 4, 16, 1, b"GNU\0", 0)
"""NT_GNU_ABI_TAG (1), of GNU, for Linux (0). The three numbers of a version follow."""
ADDRESS = 0x400000
_SENTINEL = bytes(range(16))


def program(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def for_kernel(major: int) -> bytes:
    """`true`, built for a Linux of that major version at the least."""
    content = TRUE.read_bytes()
    at = content.index(_NOTE) + len(_NOTE)
    return content[:at] + struct.pack("<I", major) + content[at + 4 :]


def with_text(old: bytes, new: bytes) -> bytes:
    """`true` with another text, of the same length, in its table of strings."""
    content = TRUE.read_bytes()
    assert len(old) == len(new)
    assert content.count(b"\0" + old + b"\0") == 1
    return content.replace(b"\0" + old + b"\0", b"\0" + new + b"\0")


def newest_glibc_wanted() -> bytes:
    """The newest version of glibc's symbols that `true` asks for."""
    content = TRUE.read_bytes()
    versions = [each for each in range(2, 60) if b"\0GLIBC_2.%d\0" % each in content]
    return b"GLIBC_2.%d" % versions[-1]


def go_file(version: bytes, lines: bytes, *, inline: bool, big: bool = False, bits: int = 64, before: int = 0) -> bytes:
    """An ELF file with one segment, which may be written to and begins with build information."""
    framed = _SENTINEL + lines + _SENTINEL if lines else b""
    header = _header(bits, big)
    start = ADDRESS + len(header) + before * 16
    if inline:
        info = MAGIC + bytes((bits // 8, 2)) + bytes(16) + _counted(version) + _counted(framed)
    else:
        info = _pointed(version, framed, start, big=big, size=bits // 8)
    whole = header + bytes(before * 16) + info
    return _header(bits, big, len(whole)) + whole[len(header) :]


def _counted(text: bytes) -> bytes:
    length, varint = len(text), b""
    while length > 0x7F:
        varint += bytes((length & 0x7F | 0x80,))
        length >>= 7
    return varint + bytes((length,)) + text


def _pointed(version: bytes, framed: bytes, start: int, *, big: bool, size: int) -> bytes:
    word = (">" if big else "<") + ("Q" if size == 8 else "I")
    strings = start + 32
    texts = strings + 4 * size
    pointers = struct.pack(word, strings) + struct.pack(word, strings + 2 * size)
    both = (texts, len(version), texts + len(version), len(framed))
    header = (MAGIC + bytes((size, int(big))) + pointers).ljust(32, b"\0")
    return header + b"".join(struct.pack(word, each) for each in both) + version + framed


def _header(bits: int, big: bool, size: int = 0) -> bytes:  # noqa: FBT001 - a plain fact of the file
    order = ">" if big else "<"
    ident = b"\x7fELF" + bytes((bits // 32, 2 if big else 1, 1)) + bytes(9)
    if bits == 64:
        head = struct.pack(order + "HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 64, 0, 0)
        segment = struct.pack(order + "IIQQQQQQ", 1, 6, 0, ADDRESS, 0, size, size, 16)
    else:
        head = struct.pack(order + "HHIIIIIHHHHHH", 2, 3, 1, 0, 52, 0, 0, 52, 32, 1, 40, 0, 0)
        segment = struct.pack(order + "IIIIIIII", 1, 0, ADDRESS, 0, size, size, 6, 16)
    made = ident + head + segment
    return made + bytes(-len(made) % 16)
