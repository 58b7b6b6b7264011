"""What a service begins with when the release that its configuration names is in quarantine."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from supervisor.core.value import replace
from supervisor.errors import ReleaseError
from supervisor.releases.choose import recall_any
from supervisor.releases.digest import digest, digest_of

if TYPE_CHECKING:
    from supervisor.core.model import Release
    from supervisor.core.policy import Policy
    from supervisor.core.record import Record

_log = structlog.get_logger()


def instead_of(release: Release, record: Record, at: float) -> tuple[Release, Policy | None]:
    """The last good release that can be had, and what it ran by; the named one itself if that is in no quarantine.

    Nobody serves yet. Where there is nobody to go back to, the named one is started all the same: a server that fails
    now and then is more than none.
    """
    release = _known(release)
    held = _all_known(record).holds(release)
    if held is None:
        return release, None
    why = []
    for each in record.ways_back(release):
        try:
            found = recall_any(each.release)
        except ReleaseError as refused:
            why.append(str(refused))
        else:
            _log.warning("quarantine_kept", instead=found.id, reason=f"in quarantine: {held.said(at)}")
            return found, each.policy
    reason = "; ".join(why) or "no release that served well is known"
    _log.error("quarantine_waived", release=release.id, reason=reason, effect="it is started, or nobody would serve")
    return release, None


def _all_known(record: Record) -> Record:
    """With the digests of those in quarantine: one may have failed too often before its file had been read."""
    for each in record.quarantine:
        if each.release.sha256 is None:
            with suppress(OSError):
                record = record.digested(each.release.id, digest_of(each.release))
    return record


def _known(release: Release) -> Release:
    """With its digest: a file that was copied or moved is to be known."""
    try:
        return replace(release, sha256=digest(release.path))
    except OSError:
        return release
