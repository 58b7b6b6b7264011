"""What the commands take that take much."""

from __future__ import annotations

from pathlib import Path
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


def of_backup(parser: ArgumentParser) -> None:
    """Of backup."""
    where = "where to; - is standard output, and .tar is not packed (default: ROOT/backups/NAME-TIME.tar.gz)"
    parser.add_argument("file", nargs="?", metavar="FILE", help=where)
    parser.add_argument("--config", type=Path, metavar="FILE", help="the configuration; needless where gapless runs")
    which = "of current, previous, all, none and versions, with commas between (default: current,previous)"
    parser.add_argument("--releases", metavar="WHICH", help=which)
    parser.add_argument("--json", action="store_true", help="for machines")


def of_restore(parser: ArgumentParser) -> None:
    """Of restore."""
    parser.add_argument("file", type=Path, metavar="FILE", help="what `gapless backup` has written")
    parser.add_argument("--check", action="store_true", help="see that it is whole, and say what is in it; no more")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="where its configuration goes, if not to where it was"
    )
    parser.add_argument("--sha256", metavar="H", help="what it is to be: a SHA-256, or a file as sha256sum writes it")
    parser.add_argument("--signature", type=Path, metavar="F", help="of it by OpenPGP, minisign or Ed25519")
    parser.add_argument("--keyring", type=Path, metavar="FILE", help="OpenPGP keys that this may be by")
    key = "one that it may be by: minisign's (RW...), or a file of an Ed25519 key in PEM; repeatable"
    parser.add_argument("--key", action="append", default=[], metavar="KEY", help=key)
    parser.add_argument("--json", action="store_true", help="for machines")
