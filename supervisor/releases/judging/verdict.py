"""What of all that was found blocks, and why the rest does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from supervisor.releases.judging.exceptions import Allowance
    from supervisor.releases.judging.vulnerability import Vulnerability


class Judged(Struct, frozen=True, kw_only=True):
    """One vulnerability, and what was decided."""

    found: Vulnerability
    blocks: bool
    because: str


class Verdict(Struct, kw_only=True):
    """The whole of it."""

    judged: list[Judged] = field(default_factory=list)
    unused: list[Allowance] = field(default_factory=list)
    """Exceptions that nothing was found for."""

    @property
    def blocking(self) -> list[Judged]:
        """Those for which the answer is no."""
        return [each for each in self.judged if each.blocks]


def judge(found: Iterable[Vulnerability], allowed: Sequence[Allowance], threshold: float, today: date) -> Verdict:
    """Hold each against the threshold and the exceptions, the worst first."""
    verdict = Verdict()
    for each in sorted(found, key=_severity, reverse=True):
        verdict.judged.append(_judged(each, allowed, threshold, today))
    verdict.unused = [one for one in allowed if not any(one.covers(each.found) for each in verdict.judged)]
    return verdict


def _judged(found: Vulnerability, allowed: Sequence[Allowance], threshold: float, today: date) -> Judged:
    blocks, because = _weighed(found, threshold)
    if not blocks:
        return Judged(found=found, blocks=False, because=because)
    covering = [each for each in allowed if each.covers(found)]
    latest = max(covering, key=lambda each: each.until, default=None)
    if latest is None:
        return Judged(found=found, blocks=True, because=because)
    if latest.until < today:
        return Judged(found=found, blocks=True, because=f"{because}, and its exception ended on {latest.until}")
    return Judged(found=found, blocks=False, because=f"allowed until {latest.until}: {latest.reason}")


def _weighed(found: Vulnerability, threshold: float) -> tuple[bool, str]:
    """By use, where a scanner has looked at that, else by its score. What nobody has rated may be anything."""
    if found.reachable is not None:
        return found.reachable, "what is vulnerable is used" if found.reachable else "nothing vulnerable is used"
    if found.score is None:
        return True, "nobody has rated it"
    at_least = not found.score < threshold  # what is no number is no low one
    return at_least, f"{found.score:.1f} is {'not ' if at_least else ''}below {threshold:.1f}"


def _severity(found: Vulnerability) -> tuple[bool, float]:
    return found.reachable is True, 10.0 if found.score is None else found.score
