"""What a Go program tells of how it was built, stripped or not.

The format is that of Go's own `debug/buildinfo` and `runtime/debug.ParseBuildInfo`: a header of 32 bytes that begins
with a magic, at a multiple of 16 in the section `.go.buildinfo`, else in the first segment that may be written to.
Since Go 1.18 two strings follow it, each behind its length as a varint; before that the header has the addresses of
two Go strings. The first is Go's version, the second, between two sentinels of 16 bytes, lines about modules.

Whatever a file says, no more is read than its data in pieces of 1 MB, and the strings up to a bound.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from supervisor.core.value import replace
from supervisor.releases.preflight.finding import says, warns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from supervisor.releases.preflight.finding import Finding
    from supervisor.releases.preflight.image import Image

MAGIC: Final = b"\xff Go buildinf:"
_ALIGN, _HEADER, _SENTINEL = 16, 32, 16
_POINTER_SIZE, _FLAGS, _POINTERS = 14, 15, 16
"""Where these are in the header."""
_BIG, _INLINE = 1, 2
"""Bits of the flags."""
_PIECE = 1 << 20
_LONGEST_VERSION = 1 << 12
_LONGEST_LINES = 2 << 20
_MOST_LINES = 20_000
"""Of modules: the largest programs have two thousand."""
_LONGEST_VARINT = 10
_EXECUTED, _WRITTEN = 1, 2
"""PF_X, PF_W"""
_MODULE, _REPLACED = 2, 3
"""Words of a line about a module, and of one about what is built in its place."""

_INSTRUMENTED: Mapping[str, str] = {
    "-race": "the race detector (several times slower, and 5 to 10 times the memory)",
    "-msan": "the memory sanitizer",
    "-asan": "the address sanitizer",
    "-cover": "counters of coverage",
}


class Module(Struct, frozen=True):
    """One module, and what was built in its place."""

    path: str
    version: str = ""
    sum: str = ""
    replaced_by: Module | None = None

    def __str__(self) -> str:
        name = f"{self.path} {self.version}".strip()
        return f"{name} => {self.replaced_by}" if self.replaced_by else name


class BuildInfo(Struct, frozen=True, kw_only=True):
    """All that it tells."""

    go: str
    path: str = ""
    """The package that was built."""
    main: Module | None = None
    dependencies: tuple[Module, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()

    def setting(self, key: str) -> str:
        """One of the settings; empty if it is not there."""
        return next((value for name, value in self.settings if name == key), "")


def build_info(image: Image) -> BuildInfo | None:
    """What a file tells; None if it is no Go program, or its build information is damaged."""
    found = _header(image)
    if found is None:
        return None
    address, header = found
    inline = header[_FLAGS] & _INLINE
    version, lines = _inline(image, address + _HEADER) if inline else _pointed(image, header)
    if not version:
        return None
    framed = len(lines) > 2 * _SENTINEL and lines[-_SENTINEL - 1 : -_SENTINEL] == b"\n"
    return _parsed(_words(version), _words(lines[_SENTINEL:-_SENTINEL]) if framed else "")


# ---- where it is


def _header(image: Image) -> tuple[int, bytes] | None:
    start, size = _data(image)
    end = start + size
    start = (start + _ALIGN - 1) // _ALIGN * _ALIGN
    while start < end:
        piece = image.at(start, min(_PIECE, end - start))
        if not piece:
            return None
        at = _aligned(piece)
        if at is not None:
            header = image.at(start + at, _HEADER)
            return (start + at, header) if len(header) == _HEADER else None
        start += _PIECE
    return None


def _data(image: Image) -> tuple[int, int]:
    """Address and size of what has it."""
    for section in image.sections:
        if section.name == ".go.buildinfo":
            return section.address, section.size
    for segment in image.segments:
        if segment.kind == "PT_LOAD" and segment.flags & (_EXECUTED | _WRITTEN) == _WRITTEN:
            return segment.address, segment.size
    return 0, 0


def _aligned(piece: bytes) -> int | None:
    at = piece.find(MAGIC)
    while at >= 0 and at % _ALIGN:
        at = piece.find(MAGIC, at + 1)
    return at if at >= 0 else None


def _inline(image: Image, address: int) -> tuple[bytes, bytes]:
    version, address = _counted(image, address, _LONGEST_VERSION)
    lines, _ = _counted(image, address, _LONGEST_LINES)
    return version, lines


def _counted(image: Image, address: int, longest: int) -> tuple[bytes, int]:
    """A string behind its length, and where the next one is; empty if there is none."""
    length = shift = 0
    for number, byte in enumerate(image.at(address, _LONGEST_VARINT), 1):
        length |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return _whole(image, address + number, length, longest), address + number + length
    return b"", address


def _pointed(image: Image, header: bytes) -> tuple[bytes, bytes]:
    """Before Go 1.18. Each address is of a Go string: the address of its bytes and their number."""
    size, order = header[_POINTER_SIZE], "big" if header[_FLAGS] & _BIG else "little"
    if size not in {4, 8}:
        return b"", b""

    def pair(found: bytes) -> tuple[int, int]:
        first, second = found[:size], found[size : 2 * size]
        return int.from_bytes(first, order), int.from_bytes(second, order)  # type: ignore[arg-type] # it is one of the two

    version, lines = (
        _whole(image, *pair(image.at(address, 2 * size)), longest)
        for address, longest in zip(pair(header[_POINTERS:]), (_LONGEST_VERSION, _LONGEST_LINES), strict=True)
    )
    return version, lines


def _whole(image: Image, address: int, length: int, longest: int) -> bytes:
    found = image.at(address, length) if length <= longest else b""
    return found if len(found) == length else b""


# ---- what it means


def _words(text: bytes) -> str:
    return text.decode(errors="replace")


def _parsed(go: str, lines: str) -> BuildInfo:
    """Lines of words with tabs between them; what makes no sense is left out."""
    path, modules, settings = "", list[tuple[str, Module]](), list[tuple[str, str]]()
    for line in lines.split("\n", _MOST_LINES)[:_MOST_LINES]:
        kind, _, rest = line.partition("\t")
        words = rest.split("\t")
        match kind:
            case "path":
                path = rest
            case "mod" | "dep" if len(words) >= _MODULE:
                modules.append((kind, _module(words)))
            case "=>" if len(words) == _REPLACED and modules:
                which, module = modules[-1]
                modules[-1] = which, replace(module, replaced_by=_module(words))
            case "build":
                settings.append(_setting(rest))
            case _:
                pass
    return BuildInfo(
        go=go,
        path=path,
        main=next((module for kind, module in modules if kind == "mod"), None),
        dependencies=tuple(module for kind, module in modules if kind == "dep"),
        settings=tuple(settings),
    )


def _module(words: list[str]) -> Module:
    path, version, total = [*words, ""][:3]
    return Module(path, version, total)


def _setting(text: str) -> tuple[str, str]:
    """KEY=VALUE; either may be in quotes, as a Go program writes them."""
    if text.startswith('"'):
        key, _, value = text[1:].partition('"=')
    else:
        key, _, value = text.partition("=")
    if value.startswith('"'):
        try:
            value = str(json.loads(value))
        except (ValueError, RecursionError):
            value = value.strip('"')
    return key, value.strip("`")


def judge(info: BuildInfo) -> Iterator[Finding]:
    """What of it an operator should know before it serves."""
    yield says("go", f"{info.go}{_of_module(info)}{_of_revision(info)}; {_of_dependencies(info)}")
    for flag, what in _INSTRUMENTED.items():
        if info.setting(flag) == "true":
            yield warns("go", f"it was built with {what}", f"build it without {flag}")
    if info.setting("vcs.modified") == "true":
        yield warns(
            "go",
            "it was built from a tree with changes that are in no revision (vcs.modified)",
            "commit them, and build it again",
        )


def _of_module(info: BuildInfo) -> str:
    return f", {info.main}" if info.main else f", package {info.path}" if info.path else ", built without modules"


def _of_revision(info: BuildInfo) -> str:
    revision, time = info.setting("vcs.revision"), info.setting("vcs.time")
    if not revision:
        return ", of no known revision"
    return f", revision {revision}" + (f" of {time}" if time else "")


def _of_dependencies(info: BuildInfo) -> str:
    count = len(info.dependencies)
    replaced = sum(1 for each in info.dependencies if each.replaced_by)
    text = f"{count} dependenc{'y' if count == 1 else 'ies'}"
    return f"{text}, {replaced} of them replaced" if replaced else text
