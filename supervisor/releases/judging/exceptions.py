"""What an operator has decided to live with, and until when: a TOML file of [[except]] tables.

An exception counts up to and including its day, in UTC, and never longer: what was decided once is to be decided again.
"""

from __future__ import annotations

import tomllib
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from supervisor.errors import OperatorError

if TYPE_CHECKING:
    from supervisor.releases.judging.vulnerability import Vulnerability

_KEYS = frozenset({"id", "until", "reason", "package"})


class Allowance(Struct, frozen=True, kw_only=True):
    """One vulnerability that is allowed for a time."""

    id: str
    until: date
    reason: str
    package: str = ""
    """That it is allowed in; empty: in any."""

    def covers(self, found: Vulnerability) -> bool:
        """Whether this is about that one, by any of its names."""
        return self.id in found.ids and self.package in {"", found.package}


def exceptions(text: bytes, name: str) -> list[Allowance]:
    """What a file allows; `name` is what it is called. Raises OperatorError: key, value, and what would do."""
    try:
        data = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as wrong:
        raise OperatorError(f"{name} is not TOML: {wrong}") from wrong
    tables = data.pop("except", [])
    if data or not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise OperatorError(f"{name}: want a table for each exception, headed [[except]], and nothing else")
    return [_exception(table, f"{name}: except[{number}]") for number, table in enumerate(tables)]


def _exception(table: dict[str, Any], where: str) -> Allowance:
    for key in table.keys() - _KEYS:
        raise OperatorError(f"{where}.{key} is no key of an exception: want {', '.join(sorted(_KEYS))}")
    for key in ("id", "reason", "package"):
        if not isinstance(table.get(key, "" if key == "package" else None), str) or table.get(key) == "":
            raise OperatorError(f"{where}.{key} is missing or no string: want {_WANTED[key]}")
    until = table.get("until")
    if not isinstance(until, date) or isinstance(until, datetime):
        raise OperatorError(f"{where}.until is missing or no date: want the last day on which it counts, as 2027-01-31")
    return Allowance(id=table["id"], until=until, reason=table["reason"], package=table.get("package", ""))


_WANTED = {
    "id": 'the name of a vulnerability, as "CVE-2023-39325"',
    "reason": "why it is allowed, in a sentence",
    "package": "the package that it is allowed in, or no such key",
}
