"""What the loader would load for a program, by its own rules (ld.so(8); glibc, elf/dl-load.c), without running it.

Breadth first, as the loader goes: each library is looked for in DT_RPATH of who needs it and of whom that was loaded
for (unless it has a DT_RUNPATH), in LD_LIBRARY_PATH, in its DT_RUNPATH, in the cache, in the default folders. A file
of another machine is passed over. One that is loaded already serves by any of its names.

Left out, as nothing has been seen to depend on it: the folders `glibc-hwcaps`, which have a second, quicker copy.
"""

from __future__ import annotations

import os
import re
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from supervisor.releases.preflight import folders
from supervisor.releases.preflight.finding import blocks, says, warns
from supervisor.releases.preflight.image import File, MalformedError, image

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from supervisor.releases.preflight.finding import Finding
    from supervisor.releases.preflight.image import Image

_MOST: Final = 1000
"""Libraries. The largest desktop programs load three hundred."""


class Search(Struct, frozen=True, kw_only=True):
    """Where is looked, beside what the files themselves say."""

    library_path: tuple[str, ...]
    """LD_LIBRARY_PATH, which does not count for a program that gains rights when it is started."""
    directory: str
    """What a relative path is seen from."""
    cache: Mapping[str, tuple[str, ...]]
    defaults: tuple[str, ...]
    lib: str
    """$LIB"""


class Loaded(Struct, frozen=True, kw_only=True):
    """A file that would be in the process."""

    path: str
    image: Image
    by: Loaded | None = None
    """Whom it is loaded for."""
    names: frozenset[str] = frozenset()


class Missing(Struct, frozen=True, kw_only=True):
    """A library that is not to be found."""

    name: str
    by: Loaded
    passed_over: tuple[str, ...]
    """Files of its name that do not fit."""


class Linked(Struct):
    """All that would be in the process."""

    loaded: list[Loaded] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)

    def named(self, name: str) -> Loaded | None:
        """Who would serve by that name."""
        return next((each for each in self.loaded if name in each.names), None)


def link(path: str, program: Image, search: Search) -> Linked:
    """Load, on paper, a program that names an interpreter, and all that it needs. Raises OSError: that is not there."""
    linked = Linked([Loaded(path=path, image=program)])
    if program.interpreter is not None and (loader := _opened(program.interpreter)) is not None:
        names = frozenset({program.interpreter, Path(program.interpreter).name, loader.soname or ""})
        linked.loaded.append(Loaded(path=program.interpreter, image=loader, names=names))
    waiting = deque(linked.loaded[:1])
    while waiting:
        by = waiting.popleft()
        for name in by.image.needed:
            if linked.named(name) is not None or any(each.name == name for each in linked.missing):
                continue
            found = _found(name, by, search)
            if isinstance(found, Missing):
                linked.missing.append(found)
            elif len(linked.loaded) < _MOST:
                linked.loaded.append(found)
                waiting.append(found)
    return linked


def _found(name: str, by: Loaded, search: Search) -> Loaded | Missing:
    passed_over = []
    for place in _places(name, by, search):
        path = str(Path(search.directory, place))
        try:
            there = _opened(path)
        except OSError:  # it is not there, or nobody may read it
            continue
        if there is not None and there.like(by.image):
            return Loaded(path=path, image=there, by=by, names=frozenset({name, path, there.soname or name}))
        passed_over.append(path)
    return Missing(name=name, by=by, passed_over=tuple(dict.fromkeys(passed_over)))


def _places(name: str, by: Loaded, search: Search) -> Iterator[str]:
    """Every path that the loader would try, in its order."""
    if "/" in name:
        yield _expanded(name, by, search)
        return
    for folder in _folders(by, search):
        yield f"{folder or '.'}/{name}"
    if by.image.no_defaults:
        yield from (each for each in search.cache.get(name, ()) if str(Path(each).parent) not in search.defaults)
        return
    yield from search.cache.get(name, ())
    yield from (f"{folder}/{name}" for folder in search.defaults)


def _folders(by: Loaded, search: Search) -> Iterator[str]:
    each: Loaded | None = by if by.image.runpath is None else None
    while each is not None:
        if each.image.runpath is None:
            yield from (_expanded(folder, each, search) for folder in each.image.rpath or ())
        each = each.by
    yield from search.library_path
    yield from (_expanded(folder, by, search) for folder in by.image.runpath or ())


def _expanded(text: str, of: Loaded, search: Search) -> str:
    """Dynamic string tokens, ld.so(8)."""
    origin = str(Path(of.path).parent)
    for token, value in (("ORIGIN", origin), ("LIB", search.lib), ("PLATFORM", os.uname().machine)):
        text = text.replace(f"${{{token}}}", value).replace(f"${token}", value)
    return text


def _opened(path: str) -> Image | None:
    """None of what is no ELF file. Raises OSError."""
    with File(path) as file:
        try:
            return image(file.read)
        except MalformedError:
            return None


def search_for(program: Image, library_path: str, directory: str) -> Search:
    """On this host, for a program whose environment has that LD_LIBRARY_PATH (empty: none)."""
    return Search(
        library_path=tuple(re.split("[:;]", library_path)) if library_path else (),
        directory=directory,
        cache=folders.cached(),
        defaults=folders.defaults(program.machine, program.bits),
        lib=folders.lib(program.machine, program.bits),
    )


# ---- what follows from it


def judge(linked: Linked) -> Iterator[Finding]:
    """Whether all is there, in the versions that are wanted."""
    program, *others = linked.loaded
    for each in linked.missing:
        yield _missing(each, program)
    faults = list(_faults(linked))
    yield from faults
    if not linked.missing and not faults:
        names = sorted(Path(each.path).name for each in others)
        yield says("libraries", f"all {len(names)} are there: {', '.join(names)}")


def _missing(missing: Missing, program: Loaded) -> Finding:
    whose = "" if missing.by is program else f" (for {missing.by.path})"
    over = (
        f"; passed over, as made for another machine: {', '.join(missing.passed_over)}" if missing.passed_over else ""
    )
    return blocks(
        "libraries",
        f"it needs {missing.name}{whose}, which is nowhere that the loader looks{over}",
        "install the package that has it, put it into a folder of LD_LIBRARY_PATH (service.environment), or link it in",
    )


def _faults(linked: Linked) -> Iterator[Finding]:
    """Versions of symbols that are wanted and not offered."""
    lacking: dict[tuple[str, str], list[str]] = {}
    unversioned: set[tuple[str, str]] = set()
    for each in linked.loaded:
        for wanted in each.image.wants:
            whose = linked.named(wanted.library)
            if whose is None or wanted.weak or wanted.version in whose.image.offers:
                continue
            if not whose.image.offers:  # the loader says "no version information available", and goes on
                unversioned.add((each.path, whose.path))
                continue
            lacking.setdefault((each.path, whose.path), []).append(wanted.version)
    for (path, library), versions in lacking.items():
        yield _lacking(path, library, versions, linked)
    for path, library in sorted(unversioned):
        yield warns("versions", f"{path} was linked against a {library} with versions, and this one has none")


def _lacking(path: str, library: str, versions: list[str], linked: Linked) -> Finding:
    program = linked.loaded[0]
    whose = "it" if path == program.path else path
    offers = next(each.image.offers for each in linked.loaded if each.path == library)
    family = versions[0].partition("_")[0]
    most = max((each for each in offers if _is_of(each, family)), key=_number, default="")
    at_most = f" goes up to {most}" if most else " has none of that name"
    oldest = f"with {most.replace('_', ' ').replace('GLIBC ', 'glibc ')} or older" if most else "as old as this one"
    return blocks(
        "versions",
        f"{whose} needs {', '.join(sorted(versions, key=_number))}, and {library}{at_most}",
        f"build it on a system {oldest}, or statically (CGO_ENABLED=0 where it is Go)",
    )


def _is_of(version: str, family: str) -> bool:
    return version.startswith(f"{family}_") and version.rpartition("_")[2][:1].isdigit()


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]{1,9}", version))
