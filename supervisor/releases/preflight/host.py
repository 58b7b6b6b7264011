"""Whether this host is one for a file: its kernel, its processor, and the room for one generation more."""

from __future__ import annotations

import os
import re
import resource
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor.linux.host import memory_available, place
from supervisor.releases.preflight.finding import blocks, says, warns
from supervisor.releases.preflight.image import NO_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from supervisor.linux.host import Place
    from supervisor.releases.preflight.finding import Finding
    from supervisor.releases.preflight.golang import BuildInfo

_LEAST_FREE = 8 << 20
"""Bytes: a journal and a history, many times over."""

_LEVELS: Mapping[str, frozenset[str]] = {
    "v2": frozenset(("cx16", "lahf_lm", "popcnt", "ssse3", "sse4_1", "sse4_2")),
    "v3": frozenset(("abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave")),
    "v4": frozenset(("avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl")),
}
"""What each level of x86-64 adds (its psABI), by the names of /proc/cpuinfo. Go looks at its start, and ends."""


def kernel(oldest: tuple[int, int, int], release: str) -> Iterator[Finding]:
    """`oldest` is what a file asks for (NT_GNU_ABI_TAG), `release` what uname(2) says."""
    numbers = [int(part) for part in re.findall(r"[0-9]{1,9}", release)[:3]]
    if oldest != NO_VERSION and tuple(numbers) < oldest:
        asked = ".".join(map(str, oldest))
        yield blocks(
            "kernel",
            f"it is built for Linux {asked} or later, and this is {release}",
            "build it against an older C library, or run a newer kernel",
        )


def processor(info: BuildInfo, flags: frozenset[str]) -> Iterator[Finding]:
    """`flags` are this processor's; none: they are not known."""
    level = info.setting("GOAMD64")
    lacking = {flag for each in _LEVELS if each <= level for flag in _LEVELS[each]} - flags
    if flags and lacking:
        yield blocks(
            "processor",
            f"it is built with GOAMD64={level}, and this processor has no {', '.join(sorted(lacking))}",
            "build it with GOAMD64=v1",
        )


def processor_flags() -> frozenset[str]:
    """Of the first processor, as the kernel names them; none where it names none."""
    try:
        with Path("/proc/cpuinfo").open() as lines:
            line = next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        return frozenset()
    return frozenset(line.partition(":")[2].split())


def memory(available: int | None, serving: int, least: int) -> Iterator[Finding]:
    """For while both run. `serving` is what the present one has (0: not known), `least` what the new one maps."""
    if available is None:
        return
    wanted = serving or least
    what = "as much as the generation that serves has" if serving else "what its segments take"
    if available < wanted:
        yield warns(
            "memory",
            f"{_mb(available)} can be had, and the new generation may want {_mb(wanted)}, {what}",
            'make room, or use handoff.mode = "exclusive": then never two run at a time',
        )
    elif serving:
        yield says("memory", f"{_mb(available)} can be had beside what serves, and {_mb(wanted)} is {what}")


def disk(places: Mapping[str, Place], size: int) -> Iterator[Finding]:
    """Where something is written: by what it is for. `size` is the file's own."""
    for what, there in places.items():
        least = max(_LEAST_FREE, size) if what == "releases" else _LEAST_FREE
        if there.free is not None and there.free < least:
            yield warns(
                "disk",
                f"{there.path} ({what}) has {_mb(there.free)} left, and two generations want {_mb(least)} at the least",
                f"free some space in {there.existing}",
            )


def room(path: str, size: int, least: int, serving: tuple[int, ...], state: str | None) -> Iterator[Finding]:
    """Of this host, for a file of that size; `serving` are the processes of who serves."""
    yield from memory(memory_available(), _resident(serving), least)
    places = {"releases": Path(path).parent} | ({"state": Path(state)} if state else {})
    yield from disk({what: place(folder) for what, folder in places.items()}, size)


def _resident(pids: tuple[int, ...]) -> int:
    """Bytes that they have in memory together (proc(5), statm: in pages)."""
    pages = 0
    for pid in pids:
        with suppress(OSError, ValueError, IndexError):
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def this_kernel() -> str:
    """What uname(2) says."""
    return os.uname().release


def _mb(size: int) -> str:
    return f"{size / (1 << 20):,.0f} MB" if size >= 10 << 20 else f"{size / (1 << 20):,.1f} MB"
