"""What differs between two releases that serve or have served: the file, what is inside it, and what it was run by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Group
from rich.text import Text

from supervisor.cli_layout import clean, printing, wrapped
from supervisor.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.control.client import Client

_SECTIONS = ("file", "build", "command", "environment", "listen", "service", "policy")
_SHORTEST_DIGEST = 8

Facts = Mapping[str, Mapping[str, str] | None]
"""By section, a value for each name. None: not known."""


class Difference(NamedTuple):
    """One fact that is not the same; None where there is none of that name."""

    section: str
    name: str
    before: str | None
    after: str | None


def show(client: Client, one: str, other: str, *, machine: bool) -> None:
    """Two releases, by id, digest or what they are just now. Raises OperatorError if either is not known."""
    known = client.call("GET", "/v1/served")["served"]
    before, after = _meant(known, one), _meant(known, other)
    remarks = [*_look_inside(before), *_look_inside(after)]
    found = list(differences(before["facts"], after["facts"]))
    if machine:
        fields = [each._asdict() for each in found]
        print(
            json.dumps({"from": before["id"], "to": after["id"], "differences": fields, "unknown": remarks}, indent=2)
        )
        return
    console = printing()
    console.print(Group(*_page(before["id"], after["id"], found, remarks, console.width)))


def differences(before: Facts, after: Facts) -> Iterator[Difference]:
    """What is not the same, as far as both are known."""
    for section in _SECTIONS:
        one, other = before.get(section), after.get(section)
        if one is None or other is None:
            continue
        for name in dict.fromkeys((*one, *other)):
            if one.get(name) != other.get(name):
                yield Difference(section, name, one.get(name), other.get(name))


def _meant(known: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Of several ways in which one release was run the first is meant, which is the newest."""
    found = [each for each in known if _is_called(each, name)]
    ids = list(dict.fromkeys(each["id"] for each in found))
    if len(ids) > 1:
        raise OperatorError(f"{name} may be {' or '.join(ids)}: say which")
    if not found:
        there = ", ".join(dict.fromkeys(each["id"] for each in known))
        raise OperatorError(f"{name} is no release that serves or is remembered: there are {there}")
    return found[0]


def _is_called(each: dict[str, Any], name: str) -> bool:
    if name in {each["id"], *each["called"]}:
        return True
    return len(name) >= _SHORTEST_DIGEST and (each["sha256"] or "").startswith(name.lower())


def _look_inside(each: dict[str, Any]) -> Iterator[str]:
    """Add what the file itself tells, if it is still the one; a remark if it cannot."""
    path, size = Path(each["facts"]["file"]["path"]), each["facts"]["file"]["size"]
    each["facts"]["build"] = None
    try:
        same = str(path.stat().st_size) == size and each["sha256"] in {None, _digest(path)}
        if same:
            each["facts"]["build"] = dict(_build_info(path))
        else:
            yield f"{each['id']}: {path} is another file by now, and how it was built is not known"
    except OSError as refused:
        yield f"{each['id']}: {path} cannot be read ({refused.strerror}), and how it was built is not known"


def _build_info(path: Path) -> Mapping[str, str]:
    """What a Go program tells of how it was built, a value for each name. Raises OSError."""
    from supervisor.releases.preflight import golang  # noqa: PLC0415 - the other commands do without what it loads
    from supervisor.releases.preflight.image import File, MalformedError, image  # noqa: PLC0415 - likewise

    with File(str(path)) as file:
        try:
            found = golang.build_info(image(file.read))
        except MalformedError:
            return {}
    if found is None:
        return {}
    modules = {f"module {each.path}": str(each) for each in found.dependencies}
    main = {"main": str(found.main)} if found.main else {}
    return {"go": found.go, "package": found.path, **main, **dict(found.settings), **modules}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _page(one: str, other: str, found: list[Difference], remarks: list[str], width: int) -> Iterator[Text]:
    yield Text(f"{one} → {other}", style="bold")
    section = ""
    for each in found:
        if each.section != section:
            section = each.section
            yield Text(section)
        yield from _lines(each, width)
    if not found:
        yield Text("no difference in what is known of them")
    for remark in remarks:
        yield from (Text(line, style="yellow") for line in wrapped(clean(remark), width))


def _lines(each: Difference, width: int) -> Iterator[Text]:
    """`- ` and `+ ` where one is not there at all; else the two values, in one line if they fit."""
    if each.before is None or each.after is None:
        mark, value = ("+", each.after) if each.before is None else ("-", each.before)
        text = f"{mark} {each.name}  {value}"
    elif each.before.startswith("(hidden") and each.after.startswith("(hidden"):
        text = f"  {each.name}  differs (not shown)"
    else:
        text = f"  {each.name}  {each.before} → {each.after}"
    first, *rest = wrapped(clean(text), width - 2) or [""]
    yield Text(f"  {first}")
    yield from (Text(f"      {line}") for line in rest)
