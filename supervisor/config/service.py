"""[service]: what is run, where and as whom, and what it is told and allowed."""

from __future__ import annotations

import grp
import pwd
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from supervisor.config import values

Name = Annotated[str, AfterValidator(values.name)]
Word = Annotated[str, AfterValidator(values.word)]
FullPath = Annotated[str, AfterValidator(values.path)]
Variable = Annotated[str, AfterValidator(values.variable)]
LimitName = Annotated[str, AfterValidator(values.limit_name)]
Limit = Annotated[tuple[int, int], BeforeValidator(values.limit)]
Dialect = Annotated[str, BeforeValidator(values.dialect)]
Capability = Annotated[str, BeforeValidator(values.capability)]


class ServiceTable(BaseModel):
    """[service]: what is run, where and as whom."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Name
    command: Annotated[list[Word], Field(min_length=1)]
    directory: FullPath | None = None
    user: Word | None = None
    group: Word | None = None
    groups: list[Word] | None = None
    capabilities: list[Capability] | None = None
    umask: Annotated[str, AfterValidator(values.umask)] | None = None
    environment: dict[Variable, Word] = Field(default_factory=dict)
    limits: dict[LimitName, Limit] = Field(default_factory=dict)
    nice: Annotated[int, Field(ge=-20, le=19)] | None = None
    oom_score_adj: Annotated[int, Field(ge=-1000, le=1000)] | None = None
    dialects: list[Dialect] = Field(default_factory=list)
    stdin: Word | None = None
    stdout: FullPath | None = None
    stderr: FullPath | None = None
    state_dir: FullPath | None = None

    @field_validator("command")
    @classmethod
    def _check_command(cls, value: list[str]) -> list[str]:
        if not value[0]:
            raise ValueError("want the program first, which is no empty string")
        return value

    @field_validator("user")
    @classmethod
    def _check_user(cls, value: str | None) -> str | None:
        if value is not None:
            _known(pwd.getpwnam, value, "user")
        return value

    @field_validator("group")
    @classmethod
    def _check_group(cls, value: str | None) -> str | None:
        if value is not None:
            _known(grp.getgrnam, value, "group")
        return value

    @field_validator("groups")
    @classmethod
    def _check_groups(cls, value: list[str] | None) -> list[str] | None:
        for each in value or ():
            _known(grp.getgrnam, each, "group")
        return value


def _known(look_up: Any, name: str, kind: str) -> None:  # noqa: ANN401 - pwd.getpwnam or grp.getgrnam
    try:
        look_up(name)
    except (KeyError, ValueError):
        raise ValueError(f"want the name of a {kind} of this host: there is none of that name") from None
