"""`gapless release`: add, list, verify, prune and remove the versions of a store.

It is done by this process and with its rights, whether a supervisor runs or not. That has only to say which file its
configuration is.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from supervisor.errors import OperatorError, ReleaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from supervisor.daemon_place import Place
    from supervisor.releases.layout import Layout
    from supervisor.releases.manifest import Manifest

_STEP = 1024
_SHOWN = 8


def add_arguments(parser: argparse.ArgumentParser, which: argparse.ArgumentParser) -> None:
    """Give the command its own commands, and those what they take; `which` has what says which supervisor is meant."""
    of = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    of.add_argument("--config", type=Path, metavar="FILE", help="the configuration; needless where gapless runs by it")
    commands = parser.add_subparsers(dest="what", required=True, metavar="COMMAND")

    def command(name: str, does: Callable[[Place, argparse.Namespace], bool], text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, allow_abbrev=False, parents=[which, of])
        made.set_defaults(works=does)
        return made

    add = command("add", _add, "copy a file, a folder or a tar into the store as a version, checked and sealed")
    add.add_argument("source", type=Path, metavar="FILE|DIR|TAR")
    add.add_argument("--version", required=True, metavar="V", help="what it is to be called")
    add.add_argument("--name", metavar="NAME", help="what a single file is called in it; else as the command has it")
    add.add_argument("--sha256", metavar="H", help="what it is to be: a SHA-256, or a file as sha256sum writes it")
    signature = "of it by OpenPGP, minisign or Ed25519; or of the file of --sha256, if it is called like that"
    add.add_argument("--signature", type=Path, metavar="F", help=signature)
    listing = command("list", _list, "show the versions that are there, the oldest first")
    listing.add_argument("--json", action="store_true", help="for machines")
    verify = command("verify", _verify, "see that versions are what they were sealed as")
    verify.add_argument("versions", nargs="*", metavar="V", help="which; none: all")
    prune = command("prune", _prune, "remove all but the newest versions and those that are in use")
    prune.add_argument("--keep", type=int, metavar="N", help="how many; else as releases.keep says")
    remove = command("remove", _remove, "remove a version that is not in use")
    remove.add_argument("version", metavar="V")


def release(given: argparse.Namespace, running: Callable[[], str | None]) -> bool:
    """Do one of them; whether all is well. `running` tells the configuration of the supervisor that runs.

    Raises GaplessError or OSError.
    """
    path = getattr(given, "config", None) or running()
    if path is None:
        raise OperatorError("the supervisor runs without a configuration file: say --config FILE")
    from supervisor.daemon_place import Place  # noqa: PLC0415 - loads what reads a configuration

    well: bool = given.works(Place.of(Path(path)), given)
    return well


def _add(place: Place, given: argparse.Namespace) -> bool:
    from supervisor.releases import seal  # noqa: PLC0415 - only this command has use for it

    offer = seal.Offer(
        source=given.source,
        version=given.version,
        name=given.name or place.program,
        sha256=given.sha256,
        signature=given.signature,
    )
    place.layout.make()
    with place.layout.alone():
        _tell_swept(seal.sweep(place.layout))
        added = seal.add(place.layout, place.store, offer)
    found = added.manifest
    checked = ", ".join(f"{each.kind} {each.by}" for each in found.checks) or "by nothing"
    print(f"{'added' if added.new else 'there already, and the same'}: {found.version} ({place.layout.versions})")
    print(f"{_count(found)}, {_size(found.size)}, digest {found.digest}")
    print(f"checked: {checked}")
    return True


def _list(place: Place, given: argparse.Namespace) -> bool:
    layout = place.layout
    rows = [_row(layout, name) for name in layout.names()]
    if given.json:
        print(json.dumps({"root": str(layout.root), "current": layout.current(), "versions": rows}, indent=2))
        return True
    from supervisor.cli_layout import Column, Row, lay_out, printing  # noqa: PLC0415 - loads what draws tables

    console = printing()
    columns = [Column("version"), Column("digest", goes=1), Column("size", right=True, goes=3), Column("added", goes=2)]
    shown = [Row(_cells(row), _remarks(row), "bold" if row["current"] else "") for row in rows]
    for line in lay_out(columns, shown, "", console.width):
        console.print(line)
    return True


def _verify(place: Place, given: argparse.Namespace) -> bool:
    from supervisor.releases.choose import sealed  # noqa: PLC0415 - only this command has use for it

    well = True
    for name in given.versions or place.layout.names():
        try:
            found = sealed(place.layout, place.store, name)
        except ReleaseError as wrong:
            print(f"{name}: {wrong}")
            well = False
        else:
            print(f"{name}: all right ({_count(found)}, {_size(found.size)})")
    return well


def _prune(place: Place, given: argparse.Namespace) -> bool:
    from supervisor.releases import prune, seal  # noqa: PLC0415 - only this command has use for it

    keep = place.store.keep if given.keep is None else given.keep
    if keep < 0:
        raise OperatorError("--keep is to be a number of versions")
    with place.layout.alone():
        _tell_swept(seal.sweep(place.layout))
        gone = prune.prune(place.layout, keep, place.kept())
    print(f"removed: {', '.join(gone)}" if gone else "nothing to remove")
    return True


def _remove(place: Place, given: argparse.Namespace) -> bool:
    from supervisor.releases import prune, seal  # noqa: PLC0415 - only this command has use for it

    with place.layout.alone():
        _tell_swept(seal.sweep(place.layout))
        prune.remove(place.layout, given.version, place.kept())
    print(f"removed: {given.version}")
    return True


def _tell_swept(swept: Iterable[str]) -> None:
    for what in swept:
        print(f"note: swept away what was left when {what} was interrupted")


def _row(layout: Layout, name: str) -> dict[str, Any]:
    from supervisor.releases.manifest import read  # noqa: PLC0415 - only these commands have use for it

    row: dict[str, Any] = {"version": name, "current": layout.current() == name, "sealed": False, "fault": None}
    try:
        found = read(layout.folder(name))
    except ReleaseError as damaged:
        return {**row, "fault": str(damaged)}
    if found is None:
        return row
    return {
        **row,
        "sealed": True,
        "digest": found.digest,
        "size": found.size,
        "files": len(found.items),
        "added": found.added,
        "by": found.user,
        "uid": found.uid,
        "origin": found.origin,
        "checks": [{"kind": each.kind, "by": each.by} for each in found.checks],
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    if not row["sealed"]:
        return (row["version"], "", "", "")
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["added"]))
    return (row["version"], row["digest"][:_SHOWN], _size(row["size"]), when)


def _remarks(row: dict[str, Any]) -> str:
    kinds = sorted({each["kind"] for each in row.get("checks", ())})
    remarks = [
        "current" if row["current"] else "",
        row["fault"] or ("" if row["sealed"] else "without a manifest"),
        f"checked by {' and '.join(kinds)}" if kinds else "",
        f"added by {row['by']}" if row["sealed"] else "",
    ]
    return ", ".join(each for each in remarks if each)


def _count(found: Manifest) -> str:
    files = sum(each.kind == "file" for each in found.items)
    return f"{files} file{'s' * (files != 1)}"


def _size(size: float) -> str:
    unit = "B"
    for unit in ("B", "K", "M", "G"):
        if size < _STEP or unit == "G":
            break
        size /= _STEP
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
