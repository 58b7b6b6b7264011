"""The process that looks at a file for the daemon, and ends: what it loads is too large to be kept.

It is given the surroundings on standard input, as JSON, and answers with a line of JSON: `version` and `findings`.
It holds itself to a bound of memory and of time: a file that is made to be looked at for ever ends it, and nobody else.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any, Final

from msgspec.structs import asdict

from supervisor import __version__
from supervisor.releases.preflight.look import look
from supervisor.releases.preflight.surroundings import from_json

MOST_MEMORY: Final = 512 << 20
"""Bytes of address space."""
MOST_SECONDS: Final = 10
"""Of a processor."""


_MODEST = 10
"""The server that runs has requests to answer meanwhile, and they come first."""


def main() -> None:
    """Look, answer, end. `sys.argv` names the file."""
    os.nice(_MODEST)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
    answer = {"version": __version__, "findings": look(sys.argv[1], from_json(sys.stdin.buffer.read()))}
    sys.stdout.write(json.dumps(answer, default=_fields) + "\n")
    sys.stdout.flush()
    os._exit(0)  # who waits for the end of the output need not wait until all modules are taken down


def _fields(value: object) -> dict[str, Any]:
    return asdict(value)  # type: ignore[arg-type]  # findings alone
