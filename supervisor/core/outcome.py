"""How a handoff ended, for those who asked and for the history."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from supervisor.core.model import ANYWHERE, Reason

if TYPE_CHECKING:
    from supervisor.core.model import Failure, Phase, Release, Request


class Result(StrEnum):
    """How a handoff ended."""

    COMMITTED = "committed"
    ROLLED_BACK = "rolled back"
    REFUSED = "refused"


class Outcome(Struct, frozen=True, kw_only=True):
    """A handoff that has ended, for those who asked and for the history."""

    handoff: int
    request: Request
    result: Result
    failure: Failure | None
    undone_by: Request | None
    from_release: Release
    to_release: Release | None
    from_generation: int
    to_generation: int | None
    phases: tuple[tuple[Phase, float], ...]
    spoke_at: float | None
    """When the candidate said that it is ready, if it did."""
    ended: float
    current: str | None = ANYWHERE
    """The version that the store's `current` led to when the request was read; None: to none."""

    @property
    def has_failed(self) -> bool:
        """Whether it tells something of the version that it was to lead to. That a stop has cut it short does not."""
        stopped = self.failure is not None and self.failure.reason is Reason.STOPPING
        return self.result is not Result.COMMITTED and not stopped
