"""[health] and [recycle]: when a generation that serves is replaced by a fresh copy of it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from supervisor.config import values
from supervisor.config.asking import AnswerTable
from supervisor.core.policy import HealthProbe

Positive = Annotated[float, BeforeValidator(values.some_time)]


class HealthTable(BaseModel):
    """[health]: how it is known that one does not serve as it should."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    watchdog: Positive | None = None
    probe: Literal["none", "accept", "http"] = "none"
    interval: Positive = 10.0
    timeout: Positive = 5.0
    failures: int = Field(default=3, ge=1, le=1000)
    http: AnswerTable | None = None
    delay: Positive = 10.0
    longest: Positive = 600.0

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.http is not None and self.probe != "http":
            raise ValueError('http means nothing without probe = "http": add that, or leave it out')
        if self.longest < self.delay:
            raise ValueError(
                f"longest ({self.longest:g} s) is less than delay ({self.delay:g} s): "
                "want the time between two replacements to grow, from delay up to longest"
            )
        return self

    def asked(self, listener: str) -> HealthProbe | None:
        """For the core; `listener` is who is asked over HTTP if none is named."""
        if self.probe == "none":
            return None
        http = (self.http or AnswerTable()).check_within(self.timeout, listener) if self.probe == "http" else None
        return HealthProbe(http=http, interval=self.interval, timeout=self.timeout, failures=self.failures)


class RecycleTable(BaseModel):
    """[recycle]: when one is replaced though it serves well."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    memory: Annotated[int, BeforeValidator(values.size)] | None = None
    age: Positive | None = None
