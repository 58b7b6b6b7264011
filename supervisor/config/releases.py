"""[releases]: where the versions of a server are kept, and what must have been shown of one before it is run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from supervisor.config import values
from supervisor.core.launch import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

FullPath = Annotated[str, AfterValidator(values.path)]

_MINISIGN_KEY = re.compile(r"RW[A-Za-z0-9+/]{54}", re.ASCII)
"""`Ed`, a number of 8 bytes and 32 bytes of key, in base64 (https://jedisct1.github.io/minisign/)."""


def _key(value: str) -> str:
    if not _MINISIGN_KEY.fullmatch(value) and not value.startswith("/"):
        raise ValueError("want minisign's public key (56 characters, RW...), or the full path of an Ed25519 key in PEM")
    return value


class ReleasesTable(BaseModel):
    """[releases]: where they are kept, and what is asked of them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    root: FullPath | None = None
    require: list[Literal["sha256", "signature"]] = Field(default_factory=list)
    keyring: FullPath | None = None
    keys: list[Annotated[str, AfterValidator(_key)]] = Field(default_factory=list)
    keep: Annotated[int, Field(ge=1, le=1000)] = 5
    follow: Literal["current", "patch", "off"] = "off"

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.root is None and self.model_fields_set:
            raise ValueError("there is no root: want the folder that has versions and current")
        if "signature" in self.require and not self.keyring and not self.keys:
            raise ValueError('require has "signature", and no key is known: want keyring or keys with it')
        return self

    def check_command(self, command: Sequence[str]) -> None:
        """See that the command is of the store. Raises ValueError."""
        if self.root is None:
            return
        current = str(Path(self.root) / "current")
        if not any(f"{word}/".startswith(f"{current}/") for word in command):
            raise ValueError(
                f'releases.root = "{self.root}", and no word of service.command begins with {current}: '
                f"want it to be such as {current}/server"
            )

    def followed(self) -> str | None:
        """What begins an upgrade by itself, as the daemon keeps it."""
        return None if self.follow == "off" else self.follow

    def store(self) -> Store | None:
        """As the core keeps it."""
        if self.root is None:
            return None
        return Store(
            root=str(Path(self.root)),
            require=tuple(sorted(set(self.require))),
            keyring=self.keyring,
            keys=tuple(self.keys),
            keep=self.keep,
        )
