"""[rollback]: when the service goes back by itself, and for how long it does without the release that it left."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from supervisor.config import values

Duration = Annotated[float, BeforeValidator(values.duration)]
Positive = Annotated[float, BeforeValidator(values.some_time)]


class RollbackTable(BaseModel):
    """[rollback]: from a release that fails too often after its commit to the last good one."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    after: int = Field(default=3, ge=0, le=100)
    within: Positive = 300.0
    quarantine: Duration = 86400.0
