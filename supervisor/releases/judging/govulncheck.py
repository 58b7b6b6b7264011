"""govulncheck's report (`-format json`): a stream of messages, one a JSON object, with nothing between them.

Go's database gives no scores, and so no threshold can be held against it. It knows something better: which functions
are vulnerable, and whether the program has or calls one. So what is used blocks, whatever it would score elsewhere,
and what is only there (in a module or a package of which nothing vulnerable is used) does not. What "used" means is
as fine as the scan was: its level is in the first message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from supervisor.releases.judging.vulnerability import Vulnerability

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FINEST: Mapping[str, str] = {"symbol": "function", "package": "package", "module": "module"}
"""What the first frame of a finding has, by the level of the scan, if it is all that the scan can find."""


def is_one(messages: list[Any]) -> bool:
    """Whether this is such a report. Every one begins with its configuration."""
    return bool(messages) and "scanner_name" in messages[0].get("config", ())


def vulnerabilities(messages: list[Any]) -> Iterator[Vulnerability]:
    """All in a report, each once for every module. Raises LookupError, TypeError or AttributeError: another shape."""
    finest = _FINEST[messages[0]["config"].get("scan_level", "symbol")]
    known = {each["osv"]["id"]: each["osv"] for each in messages if "osv" in each}
    used: dict[tuple[str, str], bool] = {}
    findings: dict[tuple[str, str], dict[str, Any]] = {}
    for each in (message["finding"] for message in messages if "finding" in message):
        frame = each["trace"][0]
        which = str(each["osv"]), str(frame["module"])
        findings[which] = each
        used[which] = used.get(which, False) or bool(frame.get(finest))
    for (name, module), each in findings.items():
        entry = known.get(name, {})
        yield Vulnerability(
            ids=(name, *map(str, entry.get("aliases") or ())),
            package=module,
            version=str(each["trace"][0].get("version") or ""),
            fixed=str(each.get("fixed_version") or ""),
            title=str(entry.get("summary") or ""),
            reachable=used[name, module],
        )
