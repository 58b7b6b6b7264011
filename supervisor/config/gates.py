"""[preflight] and [[gate]]: what has to say yes before a candidate is started."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from supervisor.config import values
from supervisor.core.clearance import Clearance, Gate

if TYPE_CHECKING:
    from collections.abc import Sequence

Positive = Annotated[float, BeforeValidator(values.some_time)]
Name = Annotated[str, AfterValidator(values.name)]
Word = Annotated[str, AfterValidator(values.word)]

_CHECK = "check"
"""What the candidate's own is called, where gates have names."""


class PreflightTable(BaseModel):
    """[preflight]: the look at the file that is to run, and its own check."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    refuse: Literal["blocks", "warns", "nothing"] = "blocks"
    check: Annotated[list[Word], Field(min_length=1)] | None = None
    timeout: Positive = 30.0

    @field_validator("check")
    @classmethod
    def _check_check(cls, value: list[str] | None) -> list[str] | None:
        return value if value is None else _program_first(value)


class GateTable(BaseModel):
    """[[gate]]: a command that must say yes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Name
    command: Annotated[list[Word], Field(min_length=1)]
    timeout: Positive = 60.0

    @field_validator("command")
    @classmethod
    def _check_command(cls, value: list[str]) -> list[str]:
        return _program_first(value)


def _program_first(words: list[str]) -> list[str]:
    if not words[0]:
        raise ValueError("want the program first, which is no empty string")
    return words


def check_names(gates: Sequence[GateTable]) -> None:
    """Each gate has a name of its own, by which its no is told. Raises ValueError."""
    for name, count in Counter(each.name for each in gates).items():
        if count > 1:
            raise ValueError(f'gate: {count} gates have name = "{name}": want another name for each')


def clearance(preflight: PreflightTable, gates: Sequence[GateTable]) -> Clearance:
    """For the core."""
    check = None
    if preflight.check is not None:
        check = Gate(name=_CHECK, argv=tuple(preflight.check), timeout=preflight.timeout)
    asked = tuple(Gate(name=each.name, argv=tuple(each.command), timeout=each.timeout) for each in gates)
    return Clearance(refuse=preflight.refuse, check=check, gates=asked)
