"""Loads the large libraries so that they cost an idle daemon little: about 9 MB less than importing them as they come.

* structlog loads rich if it is installed (for tracebacks on a terminal), and the command line does install it.
* pydantic looks through all installed packages for plugins, and loads importlib.metadata and email for that.
* Imports leave much garbage behind in a short time. Collected at once it is used again by the next import; collected
  later it leaves holes that are never given back.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_IN_STEPS = ("uvloop", "structlog", "pydantic", "supervisor.config.reading", "supervisor.daemon")


def load_with_care() -> None:
    """Import them, before anything else does."""
    with _absent("rich"), _variable("PYDANTIC_DISABLE_PLUGINS", "__all__"):
        for name in _IN_STEPS:
            import_module(name)
            gc.collect()


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


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    """Set in the environment meanwhile, and not passed on to any child."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
