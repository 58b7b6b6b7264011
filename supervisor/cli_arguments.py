"""What the commands take that take much."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import ArgumentParser


def of_handoff(asking: ArgumentParser, name: str) -> None:
    """Of upgrade, rollback and abort."""
    asking.add_argument("--no-wait", action="store_true", help="ask, and do not wait for what comes of it")
    asking.add_argument("--wait-drain", action="store_true", help="wait until the old generation has ended, too")
    asking.add_argument("--json", action="store_true", help="print what came of it as JSON")
    asking.set_defaults(if_current=None, request=None, release=None, to=None)
    if name == "abort":
        return
    if name == "upgrade":
        which = "a version in the store; none: what the configuration leads to now"
        asking.add_argument("release", nargs="?", metavar="RELEASE", help=which)
    else:
        which = "an earlier one: its id, the part before +, or its SHA-256's first digits; else the one before"
        asking.add_argument("to", nargs="?", metavar="RELEASE", help=which)
    current = "refuse unless this serves: a release's id, the part before +, or its SHA-256's first digits"
    asking.add_argument("--if-current", metavar="RELEASE", help=current)
    same = "1 to 64 letters, digits and ._-; said again, it is the same request and has the same outcome"
    asking.add_argument("--request-id", dest="request", metavar="ID", help=same)


def of_quarantine(quarantine: ArgumentParser) -> None:
    """Of quarantine."""
    which = "of the one to lift: its id, the part before +, or its SHA-256's first digits"
    quarantine.add_argument("what", nargs="?", choices=("list", "lift"), default="list", help="list if not said")
    quarantine.add_argument("release", nargs="?", metavar="ID", help=which)
    quarantine.add_argument("--json", action="store_true", help="for machines")


def of_diff(diff: ArgumentParser) -> None:
    """Of diff."""
    either = "its id, the part before +, its SHA-256's first digits, or serving, previous, candidate, standby"
    diff.add_argument("one", metavar="A", help=either)
    diff.add_argument("other", metavar="B", help="likewise")
    diff.add_argument("--json", action="store_true", help="for machines")
