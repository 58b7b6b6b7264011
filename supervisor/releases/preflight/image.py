"""What an ELF file says to the kernel and to the loader.

The layouts are pyelftools'; where to look and how far is decided here, as the loader does it: by segments and the
dynamic table, which sstrip(1) leaves, and not by sections. Every size and count that a file states is held against a
bound, for the file may be damaged or hostile. It is read by pread(2) and not mapped: who writes to a file that is
mapped can shorten it, and the next look would be the end of the looker (SIGBUS).
"""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

from elftools.construct import ConstructError
from elftools.elf.structs import ELFStructs
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Read = Callable[[int, int], bytes]
    """Offset and length; fewer bytes where the file ends."""

_IDENT = 16
_64, _BIG = 2, 2
_MOST_SEGMENTS = 512
_MOST_SECTIONS = 512
_MOST_DYNAMIC = 4096
_MOST_VERSIONS = 8192
"""In a file, wanted and offered together; libc.so.6 has fifty."""
_LONGEST = 4096
"""Bytes of a string: PATH_MAX, and no name is longer."""
_LARGEST_NOTES = 1 << 16
_OF_GNU, _ABI_TAG, _ON_LINUX = b"GNU\0", "NT_GNU_ABI_TAG", 0
_WEAK = 2
"""VER_FLG_WEAK: the loader does without."""
_NO_DEFAULTS = 0x800
"""DF_1_NODEFLIB"""

NO_VERSION = (0, 0, 0)


class MalformedError(Exception):
    """This is no ELF file, or one that makes no sense."""


class File:
    """A file that is read from any place, and never whole. What is asked for behind its end is empty."""

    def __init__(self, path: str) -> None:
        """Open it, without waiting for who writes to a pipe. Raises OSError."""
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except ValueError as odd:  # a zero byte in the path
            raise OSError(str(odd)) from odd
        self.size = os.fstat(self._descriptor).st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)

    def read(self, offset: int, length: int) -> bytes:
        """Raises OSError."""
        if not 0 <= offset < self.size:
            return b""
        return os.pread(self._descriptor, min(length, self.size - offset), offset)


class Segment(Struct, frozen=True):
    """One of its program headers."""

    kind: str
    """PT_LOAD, for one."""
    offset: int
    address: int
    size: int
    """In the file."""
    memory: int
    """In memory."""
    flags: int


class Section(Struct, frozen=True):
    """One of its section headers, which nothing at run time needs."""

    name: str
    address: int
    size: int


class Wanted(Struct, frozen=True):
    """A version of a library's symbols that it was linked against."""

    library: str
    version: str
    weak: bool


class Image(Struct, frozen=True, kw_only=True):
    """One file, as far as it matters to who starts it."""

    read: Read
    bits: int
    little: bool
    machine: str
    """EM_X86_64, for one."""
    segments: tuple[Segment, ...]
    sections: tuple[Section, ...]
    interpreter: str | None
    needed: tuple[str, ...]
    soname: str | None
    rpath: tuple[str, ...] | None
    runpath: tuple[str, ...] | None
    no_defaults: bool
    wants: tuple[Wanted, ...]
    offers: frozenset[str]
    """Versions of its own symbols; none if it does without versions."""
    kernel: tuple[int, int, int]
    """The oldest that it says it runs on; NO_VERSION if it says nothing."""

    @property
    def memory(self) -> int:
        """Bytes of address space that its segments take."""
        return sum(each.memory for each in self.segments if each.kind == "PT_LOAD")

    def like(self, other: Image) -> bool:
        """Whether both can be in one process."""
        return (self.bits, self.little, self.machine) == (other.bits, other.little, other.machine)

    def at(self, address: int, length: int) -> bytes:
        """What is at an address once it is loaded; fewer bytes where its segment ends, none where none is."""
        return _at(self.read, self.segments, address, length)


def image(read: Read) -> Image:
    """Look at a file. Raises MalformedError, or what `read` does."""
    try:
        return _Parser(read).image()
    except (ConstructError, UnicodeDecodeError) as odd:
        raise MalformedError(str(odd)) from odd


class _Parser:
    def __init__(self, read: Read) -> None:
        ident = read(0, _IDENT)
        if (
            len(ident) < _IDENT
            or not ident.startswith(b"\x7fELF")
            or ident[4] not in {1, _64}
            or ident[5] not in {1, _BIG}
        ):
            raise MalformedError("its first bytes are no ELF header")
        self._read = read
        self._chained = 0
        self._bits = 64 if ident[4] == _64 else 32
        self._little = ident[5] != _BIG
        self._structs = ELFStructs(little_endian=self._little, elfclass=self._bits)
        self._structs.create_basic_structs()
        self._structs.create_advanced_structs()
        self._header = self._parsed(self._structs.Elf_Ehdr, 0)
        self._segments = tuple(self._each_segment())
        self._dynamic = list(self._each_dynamic())

    def image(self) -> Image:
        paths = {tag: self._texts(tag) for tag in ("DT_NEEDED", "DT_SONAME", "DT_RPATH", "DT_RUNPATH")}
        return Image(
            read=self._read,
            bits=self._bits,
            little=self._little,
            machine=str(self._header.e_machine),
            segments=self._segments,
            sections=tuple(self._each_section()),
            interpreter=self._interpreter(),
            needed=paths["DT_NEEDED"],
            soname=next(iter(paths["DT_SONAME"]), None),
            rpath=_folders(paths["DT_RPATH"]),
            runpath=_folders(paths["DT_RUNPATH"]),
            no_defaults=bool(self._value("DT_FLAGS_1") & _NO_DEFAULTS),
            wants=tuple(self._each_wanted()),
            offers=frozenset(self._each_offered()),
            kernel=self._kernel(),
        )

    # ---- tables of the file

    def _parsed(self, struct: Any, offset: int) -> Any:  # noqa: ANN401 - what the library makes has no types
        return struct.parse(self._read(offset, struct.sizeof()))

    def _table(self, struct: Any, offset: int, each: int, count: int) -> Iterator[Any]:  # noqa: ANN401 - likewise
        """Entries that stand one behind the other; as many as there are in the file."""
        size = struct.sizeof()
        if each < size:
            return
        table = self._read(offset, each * count)
        for at in range(0, len(table) - size + 1, each):
            yield struct.parse(table[at : at + size])

    def _each_segment(self) -> Iterator[Segment]:
        head = self._header
        count = min(head.e_phnum, _MOST_SEGMENTS)
        for each in self._table(self._structs.Elf_Phdr, head.e_phoff, head.e_phentsize, count):
            yield Segment(str(each.p_type), each.p_offset, each.p_vaddr, each.p_filesz, each.p_memsz, each.p_flags)

    def _each_section(self) -> Iterator[Section]:
        head = self._header
        count = min(head.e_shnum, _MOST_SECTIONS)
        found = list(self._table(self._structs.Elf_Shdr, head.e_shoff, head.e_shentsize, count))
        if not 0 < head.e_shstrndx < len(found):
            return
        names = found[head.e_shstrndx]
        text = self._read(names.sh_offset, min(names.sh_size, _LARGEST_NOTES))
        for each in found:
            name = text[each.sh_name : each.sh_name + _LONGEST].partition(b"\0")[0]
            yield Section(name.decode(errors="replace"), each.sh_addr, each.sh_size)

    def _each_dynamic(self) -> Iterator[tuple[str, int]]:
        segment = next((each for each in self._segments if each.kind == "PT_DYNAMIC"), None)
        if segment is None:
            return
        struct = self._structs.Elf_Dyn
        count = min(segment.size // struct.sizeof(), _MOST_DYNAMIC)
        for each in self._table(struct, segment.offset, struct.sizeof(), count):
            if each.d_tag == "DT_NULL":
                return
            yield str(each.d_tag), each.d_val

    def _value(self, tag: str) -> int:
        """What the dynamic table has; the last one counts, as for the loader."""
        return next((value for name, value in reversed(self._dynamic) if name == tag), 0)

    def _text(self, offset: int) -> str:
        """From the table of strings of the dynamic table."""
        found = _at(self._read, self._segments, self._value("DT_STRTAB") + offset, _LONGEST)
        return found.partition(b"\0")[0].decode(errors="surrogateescape")

    def _texts(self, tag: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._text(value) for name, value in self._dynamic if name == tag))

    # ---- what it says

    def _interpreter(self) -> str | None:
        segment = next((each for each in self._segments if each.kind == "PT_INTERP"), None)
        if segment is None:
            return None
        path = self._read(segment.offset, min(segment.size, _LONGEST)).partition(b"\0")[0]
        return path.decode(errors="surrogateescape")

    def _each_wanted(self) -> Iterator[Wanted]:
        for at, file in self._chain(self._structs.Elf_Verneed, self._value("DT_VERNEED"), "vn_next"):
            library = self._text(file.vn_file)
            for _, each in self._chain(self._structs.Elf_Vernaux, at + file.vn_aux, "vna_next", file.vn_cnt):
                yield Wanted(library, self._text(each.vna_name), bool(each.vna_flags & _WEAK))

    def _each_offered(self) -> Iterator[str]:
        for at, each in self._chain(self._structs.Elf_Verdef, self._value("DT_VERDEF"), "vd_next"):
            for _, name in self._chain(self._structs.Elf_Verdaux, at + each.vd_aux, "vda_next", 1):
                yield self._text(name.vda_name)

    def _chain(self, struct: Any, address: int, onwards: str, most: int = _MOST_VERSIONS) -> Iterator[tuple[int, Any]]:  # noqa: ANN401 - likewise
        """Entries of which each says how far away the next one is, with their addresses."""
        if not address:
            return
        for _ in range(most):
            self._chained += 1
            if self._chained > _MOST_VERSIONS:
                raise MalformedError("its versions have no end")
            entry = struct.parse(_at(self._read, self._segments, address, struct.sizeof()))
            yield address, entry
            if not entry[onwards]:
                return
            address += entry[onwards]

    def _kernel(self) -> tuple[int, int, int]:
        """NT_GNU_ABI_TAG: an operating system and three numbers (glibc, elf/dl-load.c)."""
        found = (note for each in self._segments if each.kind == "PT_NOTE" for note in self._notes(each))
        for kind, name, words in islice(found, _MOST_SEGMENTS):
            if (kind, name) == (_ABI_TAG, _OF_GNU) and len(words) >= _IDENT:
                order = "little" if self._little else "big"
                system, *version = (int.from_bytes(words[at : at + 4], order) for at in range(0, _IDENT, 4))  # type: ignore[arg-type] # it is one of the two
                if system == _ON_LINUX:
                    return version[0], version[1], version[2]
        return NO_VERSION

    def _notes(self, segment: Segment) -> Iterator[tuple[str, bytes, bytes]]:
        """Kind, whose, and what, of each; in pieces of four bytes, as the kernel and glibc make them."""
        struct = self._structs.Elf_Nhdr
        text, at = self._read(segment.offset, min(segment.size, _LARGEST_NOTES)), 0
        while at + struct.sizeof() <= len(text):
            head = struct.parse(text[at : at + struct.sizeof()])
            name = at + struct.sizeof()
            words = name + _rounded(head.n_namesz)
            yield str(head.n_type), text[name : name + head.n_namesz], text[words : words + head.n_descsz]
            at = words + _rounded(head.n_descsz)


def _rounded(size: int) -> int:
    return (size + 3) & ~3


def _folders(texts: tuple[str, ...]) -> tuple[str, ...] | None:
    return tuple(texts[-1].split(":")) if texts else None


def _at(read: Read, segments: tuple[Segment, ...], address: int, length: int) -> bytes:
    for each in segments:
        if each.kind == "PT_LOAD" and each.address <= address < each.address + each.size:
            inside = address - each.address
            return read(each.offset + inside, min(length, each.size - inside))
    return b""
