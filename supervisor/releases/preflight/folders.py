"""Where the loader of this host looks for libraries on its own: ld.so.cache, and the default folders."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CACHE: Final = Path("/etc/ld.so.cache")
WIDE: Final = 64
"""Bits of an address, where there are two kinds of programs."""

_OLD, _NEW = b"ld.so-1.7.0\0", b"glibc-ld.so.cache1.1"
_OLD_HEAD, _OLD_ENTRY = struct.Struct("=12sI"), struct.Struct("=iII")
_HEAD, _ENTRY = struct.Struct("=20sII20x"), struct.Struct("=iIIIQ")
"""glibc, sysdeps/generic/dl-cache.h: struct cache_file_new and file_entry_new, in the host's own order."""
_LARGEST = 64 << 20
_MOST_ENTRIES = 200_000

_TRIPLETS: Mapping[str, str] = {
    "EM_X86_64": "x86_64-linux-gnu",
    "EM_386": "i386-linux-gnu",
    "EM_AARCH64": "aarch64-linux-gnu",
    "EM_ARM": "arm-linux-gnueabihf",
    "EM_PPC64": "powerpc64le-linux-gnu",
    "EM_S390": "s390x-linux-gnu",
    "EM_RISCV": "riscv64-linux-gnu",
}
"""Debian's folders for several machines on one host."""


def cached(path: Path = CACHE) -> Mapping[str, tuple[str, ...]]:
    """Which paths each library has in the loader's cache, in its order; empty where there is no cache that we know."""
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST)
    except OSError:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    try:
        for name, where in _entries(text):
            found[name] = (*found.get(name, ()), where)
    except struct.error:
        return {}
    return found


def _entries(text: bytes) -> Iterator[tuple[str, str]]:
    start = 0
    if text.startswith(_OLD):  # one of both formats: the new one stands behind the old one, at a multiple of 8
        start = (_OLD_HEAD.size + _OLD_HEAD.unpack_from(text)[1] * _OLD_ENTRY.size + 7) & ~7
    magic, count, _ = _HEAD.unpack_from(text, start)
    if magic != _NEW:
        return
    for number in range(min(count, _MOST_ENTRIES)):
        _, key, value, _, _ = _ENTRY.unpack_from(text, start + _HEAD.size + number * _ENTRY.size)
        yield _text(text, start + key), _text(text, start + value)


def _text(text: bytes, at: int) -> str:
    return os.fsdecode(text[at : text.find(b"\0", at)])


def defaults(machine: str, bits: int) -> tuple[str, ...]:
    """The folders that the loader was built to look in, as far as they are there."""
    triplet = _TRIPLETS.get(machine, "")
    wide = "64" if bits == WIDE else ""
    names = [f"lib/{triplet}", f"usr/lib/{triplet}"] if triplet else []
    names += [f"lib{wide}", f"usr/lib{wide}", "lib", "usr/lib"]
    return tuple(dict.fromkeys(f"/{name}" for name in names if Path("/", name).is_dir()))


def lib(machine: str, bits: int) -> str:
    """What $LIB stands for in a path (ld.so(8)): Debian's loader has a folder for each machine there."""
    triplet = _TRIPLETS.get(machine, "")
    if triplet and Path("/lib", triplet).is_dir():
        return f"lib/{triplet}"
    return "lib64" if bits == WIDE and Path("/lib64").is_dir() else "lib"
