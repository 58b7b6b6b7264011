"""[ready.http], [ready.warm_up], [health.http]: what a generation is asked over HTTP."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from supervisor.config import values
from supervisor.core.policy import HttpCheck, WarmUp
from supervisor.core.value import replace

_STATUSES = re.compile(r"([1-5]\d\d)(?:-([1-5]\d\d))?", re.ASCII)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_FIELD_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")
_TARGET = re.compile(r"/[\x21-\x7e]{0,2000}")
_MOST_ROUNDS = 10_000

Positive = Annotated[float, BeforeValidator(values.some_time)]


def _statuses(value: object) -> object:
    """Ranges of `200`, `"200-299"` or a list of such."""
    words = value if isinstance(value, list) else [value]
    ranges = [_range(word) for word in words]
    if not ranges or None in ranges:
        raise ValueError('want a status or a range of them, such as 200, "200-299" or [200, 404]')
    return tuple(ranges)


def _range(word: object) -> tuple[int, int] | None:
    match = _STATUSES.fullmatch(str(word)) if isinstance(word, (int, str)) and not isinstance(word, bool) else None
    if match is None:
        return None
    low, high = int(match[1]), int(match[2] or match[1])
    return (low, high) if low <= high else None


def _target(value: str) -> str:
    if not _TARGET.fullmatch(value):
        raise ValueError('want a path from / on, without spaces, such as "/healthz"')
    return value


def _header(value: str) -> str:
    if not _TOKEN.fullmatch(value):
        raise ValueError("want the name of a header, such as Host")
    return value


def _header_value(value: str) -> str:
    if not _FIELD_VALUE.fullmatch(value):
        raise ValueError("want the value of a header: printable ASCII")
    return value


def _expression(value: str) -> str:
    try:
        re.compile(value.encode())
    except re.error as wrong:
        raise ValueError(f"want a regular expression: {wrong}") from None
    return value


Target = Annotated[str, AfterValidator(_target)]
Headers = dict[Annotated[str, AfterValidator(_header)], Annotated[str, AfterValidator(_header_value)]]


class _Asking(BaseModel):
    """What both tables have."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    listener: str | None = None
    headers: Headers = Field(default_factory=dict)
    tls: bool = False


class AnswerTable(_Asking):
    """[health.http]: what it has to answer while it serves."""

    path: Target = "/"
    status: Annotated[tuple[tuple[int, int], ...], BeforeValidator(_statuses)] = ((200, 299),)
    body: Annotated[str, AfterValidator(_expression)] | None = None

    def check_within(self, timeout: float, listener: str) -> HttpCheck:
        """For the core; `listener` if none is named."""
        return HttpCheck(
            listener=self.listener or listener,
            path=self.path,
            headers=tuple(self.headers.items()),
            tls=self.tls,
            statuses=self.status,
            body=self.body,
            timeout=timeout,
        )


class HttpTable(AnswerTable):
    """[ready.http]: what it has to answer."""

    successes: int = Field(default=1, ge=1, le=1000)
    interval: Positive = 0.1
    timeout: Positive = 1.0

    def check(self, listener: str) -> HttpCheck:
        """For the core; `listener` if none is named."""
        asked = self.check_within(self.timeout, listener)
        return replace(asked, successes=self.successes, interval=self.interval)


class WarmUpTable(_Asking):
    """[ready.warm_up]: what it is asked once it is ready, and before its first client."""

    paths: Annotated[list[Target], Field(min_length=1, max_length=1000)]
    rounds: int = Field(default=1, ge=1, le=_MOST_ROUNDS)
    timeout: Positive = 10.0

    def wanted(self, listener: str) -> WarmUp:
        """For the core; `listener` if none is named."""
        return WarmUp(
            listener=self.listener or listener,
            paths=tuple(self.paths),
            rounds=self.rounds,
            headers=tuple(self.headers.items()),
            tls=self.tls,
            timeout=self.timeout,
        )
