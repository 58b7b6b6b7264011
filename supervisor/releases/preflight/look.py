"""Looks at one file from every side, and leaves nothing out because of what was found before."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor.errors import ReleaseError
from supervisor.releases.format import check_format
from supervisor.releases.preflight import golang, host, linking, rights, script
from supervisor.releases.preflight.finding import Level, blocks, says
from supervisor.releases.preflight.image import File, MalformedError, image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.releases.preflight.finding import Finding
    from supervisor.releases.preflight.image import Image
    from supervisor.releases.preflight.surroundings import Surroundings

_WORST_FIRST = list(Level)


def look(path: str, surroundings: Surroundings) -> list[Finding]:
    """Every finding of a file that is to run, the worst first. Nothing is started."""
    try:
        found = list(_all(os.path.realpath(path), surroundings))
    except OSError as refused:
        found = [blocks("file", f"{path} cannot be looked at: {refused.strerror or refused}")]
    return sorted(found, key=lambda each: _WORST_FIRST.index(each.level))


def _all(path: str, surroundings: Surroundings) -> Iterator[Finding]:
    size = Path(path).stat().st_size
    runs_here = True
    try:
        check_format(Path(path), size, surroundings.directory)
    except ReleaseError as refused:
        runs_here = False
        yield blocks("format", str(refused))
    yield from rights.may_start(path, surroundings)
    gained = rights.rights_of(path)
    yield from rights.gains(gained, rights.bounds_for(path), surroundings.capabilities)
    program, said = script.program_of(path, surroundings) if runs_here else (path, [])
    yield from said
    if program is None:
        return
    library_path = "" if gained.any else surroundings.environment.get("LD_LIBRARY_PATH", "")
    with File(program) as file:
        try:
            found = image(file.read)
        except MalformedError as odd:
            if runs_here:
                yield blocks("format", f"{program} is damaged ({odd})", "copy it again")
            return
        yield from _of_program(program, found, library_path, surroundings, runs_here=runs_here)
        yield from host.room(path, size, found.memory, surroundings.serving, surroundings.state)


def _of_program(
    path: str, program: Image, library_path: str, surroundings: Surroundings, *, runs_here: bool
) -> Iterator[Finding]:
    yield from host.kernel(program.kernel, host.this_kernel())
    info = golang.build_info(program)
    if info is not None:
        yield from golang.judge(info)
        yield from host.processor(info, host.processor_flags() if runs_here else frozenset())
    if not runs_here:
        return
    if program.interpreter is None:
        yield says("libraries", "it is linked statically and needs none")
    elif not _is_glibc(program.interpreter):
        yield says("libraries", f"not looked at: the rules of {program.interpreter} are not known here")
    else:
        search = linking.search_for(program, library_path, surroundings.directory)
        yield from linking.judge(linking.link(path, program, search))


def _is_glibc(interpreter: str) -> bool:
    """By the names that it has on every machine (glibc, shlib-versions)."""
    name = Path(interpreter).name
    return name.startswith(("ld-linux", "ld64.so", "ld.so", "ld-2"))
