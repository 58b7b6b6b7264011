"""The first steps of the daemon: what must come before all else, and what costs the least in this order.

1. File descriptors 3 and up are set aside for the servers before anything of ours is opened.
2. The configuration is being read by another process while this one loads its modules.
3. structlog would load rich for tracebacks on a terminal, since the command line installs it: 20 ms and 6 MB.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from supervisor.daemon_given import take

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.config.source import Source


def start(source: Source) -> int:
    """Supervise a service until it is stopped; the exit status. Raises OperatorError or HostError, as `daemon.run`."""
    given = take()
    source.begin()
    with _absent("rich"):
        import_module("structlog")
    from supervisor.daemon import run  # noqa: PLC0415 - large, and the reader is at work meanwhile

    return run(source, given)


def rehearse(source: Source) -> int:
    """Do all that a start does before it touches anything: load, read the configuration and what was left, and end.

    Raises OperatorError or HostError.
    """
    source.begin()
    with _absent("rich"):
        import_module("structlog")
    import_module("supervisor.daemon")
    from supervisor.daemon_check import rehearse as rehearsed  # noqa: PLC0415 - the reader is at work meanwhile

    return rehearsed(source)


@contextmanager
def _absent(name: str) -> Iterator[None]:
    """Whoever tries to import it meanwhile finds that it is not installed (the import system's rule for None)."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # None is how the import system is told so
    try:
        yield
    finally:
        del sys.modules[name]
