"""Looks at a file before it is started: what execve(2) would refuse is refused here, with a reason to act on.

Not only for the reason: where execve says ENOEXEC, the shell that starts the server takes the file for a script of
its own and runs it, line by line.
"""

from __future__ import annotations

import os
import platform
import struct
from typing import TYPE_CHECKING

from supervisor.errors import ReleaseError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_IDENT = struct.Struct("4sBB10x")
"""elf(5): magic, class, data encoding."""
_64, _BIG = 2, 2
_REST = {1: "HHIIIIIHHH", _64: "HHIQQQIHHH"}
"""Of the header: type, machine, version, entry, phoff, shoff, flags, ehsize, phentsize, phnum."""
_SEGMENT = {1: "IIIIIIII", _64: "IIQQQQQQ"}
_LOAD, _INTERPRETER = 1, 3
_PROGRAMS = (2, 3)
"""ET_EXEC, ET_DYN (position-independent)."""
_MOST_SEGMENTS = 4096

_MACHINES: Mapping[int, str] = {3: "i386", 8: "mips", 20: "ppc", 21: "ppc64", 22: "s390x", 40: "arm", 62: "x86_64"} | {
    183: "aarch64",
    243: "riscv64",
    258: "loongarch64",
}
"""elf(5) e_machine, by the names that uname(2) has for them."""

_ALSO_RUNS: Mapping[str, frozenset[str]] = {
    "x86_64": frozenset({"i386"}),
    "aarch64": frozenset({"arm"}),
    "ppc64le": frozenset({"ppc64"}),
}
"""Machines whose kernels usually run another's programs too, or have another name."""

_FIRST_LINE = 256
"""BINPRM_BUF_SIZE: what the kernel looks at of a script."""


def check_format(path: Path, size: int, directory: str) -> None:
    """A program for this machine that is whole, or a script whose interpreter is there. Raises ReleaseError."""
    try:
        with path.open("rb") as file:
            head = file.read(_FIRST_LINE)
            if head.startswith(b"#!"):
                _check_script(path, head, directory)
                return
            if not head.startswith(b"\x7fELF"):
                raise ReleaseError(f"{path} is neither a program (ELF) nor a script (#!): {_instead(head)}")
            segments = _segments(path, head, file.fileno())
            for kind, offset, length in segments:
                if kind in {_LOAD, _INTERPRETER} and offset + length > size:
                    raise ReleaseError(f"{path} is cut short ({size} bytes of {offset + length}): copy it again")
                if kind == _INTERPRETER:
                    _check_loader(path, os.pread(file.fileno(), min(length, os.pathconf("/", "PC_PATH_MAX")), offset))
    except OSError as refused:
        raise ReleaseError(f"{path} cannot be read: {refused.strerror}") from refused
    except struct.error:
        raise ReleaseError(f"{path} is cut short ({size} bytes): copy it again") from None


def _check_script(path: Path, head: bytes, directory: str) -> None:
    line = head[2:].partition(b"\n")[0]
    if line.endswith(b"\r"):
        raise ReleaseError(f"{path} has lines that end in CR LF, as on Windows: convert it (sed -i 's/\\r$//' {path})")
    words = line.split(maxsplit=1)
    if not words:
        raise ReleaseError(f"{path} begins with #! and names no interpreter: write #!/bin/sh, for one")
    interpreter = os.path.join(directory, os.fsdecode(words[0]))  # noqa: PTH118 - bytes of any kind, and no Path wanted
    if not os.access(interpreter, os.X_OK):
        raise ReleaseError(f"{path} is a script for {interpreter}, which is not there or not executable")


def _instead(head: bytes) -> str:
    if not head:
        return "it is empty"
    if head.startswith(b"MZ"):
        return "it is a program for Windows"
    if head[:4] in {b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"\xce\xfa\xed\xfe"}:
        return "it is a program for macOS"
    if head.startswith((b"\x1f\x8b", b"PK", b"\xfd7zXZ", b"BZh", b"\x28\xb5\x2f\xfd")):
        return "it is an archive, unpack it"
    return "the file may be damaged, or a script without its first line"


def _segments(path: Path, head: bytes, fd: int) -> Iterator[tuple[int, int, int]]:
    """Kind, offset and length of each. Raises struct.error where the file ends too early."""
    _, width, encoding = _IDENT.unpack_from(head)
    if width not in _REST:
        raise ReleaseError(f"{path} is damaged: its ELF header makes no sense, copy it again")
    order = ">" if encoding == _BIG else "<"
    kind, number, _, _, offset, _, _, _, each, count = struct.unpack_from(f"{order}{_REST[width]}", head, _IDENT.size)
    _check_machine(path, number)
    if kind not in _PROGRAMS:
        raise ReleaseError(f"{path} is an object file or a core dump and no program: link it")
    layout = struct.Struct(f"{order}{_SEGMENT[width]}")
    if offset + each * count > os.fstat(fd).st_size:
        raise ReleaseError(f"{path} is cut short, in the middle of its headers: copy it again")
    table = os.pread(fd, each * min(count, _MOST_SEGMENTS), offset)
    for at in range(min(count, _MOST_SEGMENTS)):
        fields = layout.unpack_from(table, at * each)
        yield (fields[0], fields[2], fields[5]) if width == _64 else (fields[0], fields[1], fields[4])


def _check_machine(path: Path, number: int) -> None:
    host = platform.machine()
    machine = _MACHINES.get(number, f"machine {number}")
    if machine != host and machine not in _ALSO_RUNS.get(host, frozenset()):
        raise ReleaseError(f"{path} is built for {machine}, and this host is {host}: build it for this one")


def _check_loader(path: Path, name: bytes) -> None:
    loader = os.fsdecode(name.rstrip(b"\0"))
    if "\0" not in loader and loader.startswith("/") and not os.access(loader, os.X_OK):
        raise ReleaseError(
            f"{path} needs {loader}, which this host lacks: build it for this system's C library, or statically"
        )
