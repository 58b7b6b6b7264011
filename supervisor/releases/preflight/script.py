"""What a script is run by: the program at the end of its first line, and of that one's, if it is a script as well."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor.releases.preflight.finding import blocks, says
from supervisor.releases.preflight.image import File

if TYPE_CHECKING:
    from supervisor.releases.preflight.finding import Finding
    from supervisor.releases.preflight.surroundings import Surroundings

_FIRST_LINE = 256
"""BINPRM_BUF_SIZE: what the kernel looks at."""
_DEEPEST = 4
"""Scripts that are run by scripts (linux, fs/exec.c: more are ELOOP)."""


def program_of(path: str, surroundings: Surroundings) -> tuple[str | None, list[Finding]]:
    """The program by which a file is run in the end, which may be itself; None if there is none. Raises OSError."""
    said: list[Finding] = []
    for _ in range(_DEEPEST + 1):
        words = _first_line(path)
        if words is None:
            return path, said
        if not words:
            return None, [*said, blocks("script", f"{path} names no interpreter")]
        interpreter = str(Path(surroundings.directory, words[0]))
        if not os.access(interpreter, os.X_OK):
            return None, [*said, blocks("script", f"{path} is a script for {interpreter}, which is not there")]
        name = _by_env(words)
        if name is not None:
            search = surroundings.environment.get("PATH", os.defpath)
            found = shutil.which(name, path=search)
            if found is None:
                do = f"install it, or write its full path into the first line of {path}"
                return None, [
                    *said,
                    blocks("script", f"{path} is a script for {name}, which is not in PATH ({search})", do),
                ]
            interpreter = found
        said.append(says("script", f"{path} is a script for {interpreter}"))
        path = os.path.realpath(interpreter)
    return None, [
        *said,
        blocks("script", "its interpreter is a script, whose interpreter is one, and so on: too often"),
    ]


def _first_line(path: str) -> list[str] | None:
    """Interpreter and argument; None of what is no script."""
    with File(path) as file:
        head = file.read(0, _FIRST_LINE)
    if not head.startswith(b"#!"):
        return None
    return os.fsdecode(head[2:].partition(b"\n")[0].strip()).split(maxsplit=1)


def _by_env(words: list[str]) -> str | None:
    """The program that env(1) is to find; the kernel hands all that follows it over as one argument."""
    if Path(words[0]).name != "env" or len(words) == 1:
        return None
    plain = (word for word in words[1].split() if not word.startswith("-") and "=" not in word)
    return next(plain, None)
