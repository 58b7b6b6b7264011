"""Errors, by whose fault they are.

A message is one sentence for a person: what happened, to what, and what to do. Nothing here is ever shown as a
traceback; an exception of any other type is a bug of ours.
"""

from __future__ import annotations


class GaplessError(Exception):
    """The root. Never raised itself: a fault always belongs to somebody."""


class OperatorError(GaplessError):
    """The operator asked for something that cannot be: a bad key, a missing file, a request out of place."""


class UsageError(OperatorError):
    """The command line itself is not as it should be."""


class ConfigurationError(OperatorError):
    """A configuration that is refused whole. The message names key, value and what would do."""


class ReleaseError(OperatorError):
    """A file that cannot be a release: gone, not executable, built for another machine, changed since it served."""


class HostError(GaplessError):
    """The host refuses: an address in use, no permission, no free file descriptors, a read-only disk."""


class UnreachableError(GaplessError):
    """No supervisor answers on the control socket."""
