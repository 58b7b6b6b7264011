"""Programs with something wrong in them that nobody meant: bytes, sizes and counts that make no sense."""

import random
import struct
from contextlib import suppress
from functools import cache

from supervisor.releases.preflight import golang, linking
from supervisor.releases.preflight.image import MalformedError, image
from tests.harness import builds
from tests.releases.programs import TRUE, go_file

LINES = b"".join(
    (
        b"path\texample.com/x\nmod\texample.com/x\t(devel)\t\n",
        *(b"dep\texample.com/%d\tv1.2.%d\th1:abc\n" % (each, each) for each in range(50)),
        b"=>\t./near\t\t\nbuild\t-race=true\nbuild\tvcs.revision=0123456789\n",
    )
)
_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
_WIDE = 1 << 64


@cache
def bases() -> tuple[bytes, ...]:
    """Real ones, cut after what is looked at, and one of each form of build information."""
    go = builds.go_server("v1").read_bytes()
    forms = [go_file(b"go1.17", LINES, inline=inline, big=big, bits=bits) for inline, big, bits in _FORMS]
    return (TRUE.read_bytes(), go, *forms)


_FORMS = ((True, False, 64), (True, True, 32), (False, False, 64), (False, True, 32))


def mutated(dice: random.Random) -> bytes:
    """One of them with one to six things changed, mostly where something is looked at."""
    content = bytearray(dice.choice(bases()))
    for _ in range(dice.randint(1, 6)):
        at = _place(content, dice)
        match dice.randrange(6):
            case 0:
                content[at : at + 1] = bytes((dice.randrange(256),))
            case 1:
                number = struct.pack(dice.choice("<>") + "Q", (dice.choice(_EXTREMES) + dice.randint(-1, 1)) % _WIDE)
                width = dice.choice((1, 2, 4, 8))
                content[at : at + width] = number[:width]
            case 2:
                del content[at : at + dice.randrange(1, 64)]
            case 3:
                content[at:at] = dice.randbytes(dice.randrange(1, 64))
            case 4:
                length = dice.randrange(1, 256)
                other = _place(content, dice)
                content[at : at + length] = content[other : other + length]
            case _:
                if not dice.randrange(8):
                    del content[at:]
    return bytes(content)


def _place(content: bytearray, dice: random.Random) -> int:
    """In the headers, in the build information, in the small tables of a small program, or anywhere."""
    size = max(1, len(content))
    magic = content.find(golang.MAGIC)
    match dice.randrange(4):
        case 0:
            return dice.randrange(min(size, 400))
        case 1 if magic >= 0:
            return min(size - 1, magic + dice.randrange(600))
        case 2:
            return dice.randrange(min(size, 1 << 14))
        case _:
            return dice.randrange(size)


def survives(content: bytes) -> int:
    """Look at it as preflight would; how many bytes were read. Fails where anything but a plain no comes of it."""
    read = 0

    def reading(offset: int, length: int) -> bytes:
        nonlocal read
        assert offset >= 0
        assert length >= 0
        found = content[offset : offset + length]
        read += len(found)
        return found

    try:
        found = image(reading)
    except MalformedError:
        return read
    info = golang.build_info(found)
    if info is not None:
        assert all(str(finding) for finding in golang.judge(info))
    search = linking.Search(library_path=(), directory="/", cache={}, defaults=("/nowhere",), lib="lib64")
    with suppress(OSError):  # its interpreter is not there
        assert all(str(finding) for finding in linking.judge(linking.link("/nowhere/program", found, search)))
    return read
