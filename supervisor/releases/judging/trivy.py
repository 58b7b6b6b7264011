"""Trivy's report (`--format json`, SchemaVersion 2): vulnerabilities with the scores that several sources give them.

The highest score counts, of CVSS 3 and 4; one of CVSS 2 only where there is no other. What has a rating and no score
counts with the least score of that rating (CVSS 3.1, table 14). Misconfigurations and secrets are other questions.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from supervisor.releases.judging.vulnerability import Vulnerability

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NEWER, _OLDER = ("V3Score", "V40Score"), ("V2Score",)
_RATINGS: Mapping[str, float] = {"CRITICAL": 9.0, "HIGH": 7.0, "MEDIUM": 4.0, "LOW": 0.1}


def is_one(messages: list[Any]) -> bool:
    """Whether this is such a report."""
    return len(messages) == 1 and "SchemaVersion" in messages[0] and "ArtifactName" in messages[0]


def vulnerabilities(messages: list[Any]) -> Iterator[Vulnerability]:
    """All in a report. Raises LookupError, TypeError, ValueError or AttributeError where it has another shape."""
    for result in messages[0].get("Results") or ():
        for each in result.get("Vulnerabilities") or ():
            yield Vulnerability(
                ids=(str(each["VulnerabilityID"]), *map(str, each.get("VendorIDs") or ())),
                package=str(each["PkgName"]),
                version=str(each["InstalledVersion"]),
                fixed=str(each.get("FixedVersion") or ""),
                title=str(each.get("Title") or ""),
                score=_score(each),
            )


def _score(each: dict[str, Any]) -> float | None:
    sources = list((each.get("CVSS") or {}).values())
    for names in (_NEWER, _OLDER):
        scores = [float(source[name]) for source in sources for name in names if source.get(name)]
        if scores:
            return next((score for score in scores if math.isnan(score)), max(scores))
    return _RATINGS.get(str(each.get("Severity")))
