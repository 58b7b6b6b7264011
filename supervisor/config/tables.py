"""The tables of the configuration, and their translation into the plain values that the other rooms take."""

from __future__ import annotations

import grp
import os
import pwd
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from supervisor.config.values import LIMITS, duration, limit, signal_name
from supervisor.core.model import Launch
from supervisor.core.policy import Policy
from supervisor.linux.address import TcpAddress

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,62}")
_FROM_SYSTEMD = (
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "FDSTORE",
    "MAINPID",
    "MANAGERPID",
    "SYSTEMD_EXEC_PID",
)
"""Said to the supervisor and not to its children."""

_OURS = ("LISTEN_FD", "READY_FD")


Duration = Annotated[float, BeforeValidator(duration)]
Positive = Annotated[float, BeforeValidator(duration), Field(gt=0)]


class _Table(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ServiceTable(_Table):
    """[service]: what is run, where and as whom."""

    name: str
    command: list[str] = Field(min_length=1)
    directory: str | None = None
    user: str | None = None
    group: str | None = None
    umask: Annotated[str, Field(pattern=r"^[0-7]{3,4}$")] | None = None
    environment: dict[str, str] = Field(default_factory=dict)
    limits: dict[str, int | str] = Field(default_factory=dict)
    stdout: str | None = None
    stderr: str | None = None
    state_dir: str | None = None

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError("want a name of letters, digits, and . _ @ - (63 at most)")
        return value

    @field_validator("command")
    @classmethod
    def _check_command(cls, value: list[str]) -> list[str]:
        if not value[0] or any("\0" in word for word in value):
            raise ValueError("want the program and its arguments, each a string without NUL")
        return value

    @field_validator("environment")
    @classmethod
    def _check_environment(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not name or "=" in name or "\0" in name + text:
                raise ValueError(f"{name!r} cannot be the name of a variable, or its value has a NUL")
            if name in (*_FROM_SYSTEMD, *_OURS) or name.startswith("GAPLESS_"):
                raise ValueError(f"{name} is set by gapless itself: leave it out")
        return value

    @field_validator("directory", "stdout", "stderr", "state_dir")
    @classmethod
    def _check_path(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("/"):
            raise ValueError("want a full path, from / on")
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

    @field_validator("limits")
    @classmethod
    def _check_limits(cls, value: dict[str, int | str]) -> dict[str, int | str]:
        for name, text in value.items():
            if name not in LIMITS:
                raise ValueError(f"{name} is no limit; want one of {', '.join(LIMITS)}")
            limit(name, text)
        return value


class ListenTable(_Table):
    """[[listen]]: one address."""

    name: str | None = None
    address: str
    mode: Literal["reuseport"] = "reuseport"
    backlog: int = Field(default=4096, ge=1, le=65535)
    v6only: bool | None = None

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str | None) -> str | None:
        if value is not None and not _NAME.fullmatch(value):
            raise ValueError("want a name of letters, digits, and . _ @ - (63 at most)")
        return value

    @field_validator("address")
    @classmethod
    def _check_address(cls, value: str) -> str:
        TcpAddress.parse(value, name="new")
        return value

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        self.parsed("new")
        return self

    def parsed(self, name: str) -> TcpAddress:
        """As the listeners take it; `name` if it has none of its own."""
        return TcpAddress.parse(self.address, name=self.name or name, backlog=self.backlog, v6only=self.v6only)


class ReadyTable(_Table):
    """[ready]: when a generation counts as able to serve."""

    method: Literal["auto", "pipe", "notify", "accept"] = "auto"
    timeout: Positive = 30.0
    probe: bool = True


class HandoffTable(_Table):
    """[handoff]: how one generation follows another."""

    mode: Literal["overlap"] = "overlap"
    probation: Duration = 5.0


class DrainTable(_Table):
    """[drain]: how a replaced generation ends."""

    signal: Annotated[str, BeforeValidator(signal_name)] = "TERM"
    timeout: Positive = 30.0
    limit: int = Field(default=4, ge=1, le=100)


class RestartTable(_Table):
    """[restart]: how a generation that died is started again."""

    delay: Positive = 0.1
    longest: Positive = 30.0
    limit: int = Field(default=5, ge=1)
    window: Positive = 60.0


class StopTable(_Table):
    """[stop]: how the whole service ends."""

    timeout: Positive = 30.0


class ControlTable(_Table):
    """[control]: the socket that commands come by."""

    socket: str | None = None

    @field_validator("socket")
    @classmethod
    def _check_socket(cls, value: str | None) -> str | None:
        if value is not None and (not value.startswith("/") or len(value.encode()) > _LONGEST_SOCKET_PATH):
            raise ValueError("want a full path of at most 107 bytes (sun_path, unix(7))")
        return value


_LONGEST_SOCKET_PATH = 107


class Configuration(_Table):
    """The whole file."""

    service: ServiceTable
    listen: list[ListenTable] = Field(min_length=1)
    ready: ReadyTable = ReadyTable()
    handoff: HandoffTable = HandoffTable()
    drain: DrainTable = DrainTable()
    restart: RestartTable = RestartTable()
    stop: StopTable = StopTable()
    control: ControlTable = ControlTable()

    @model_validator(mode="after")
    def _check_listeners(self) -> Self:
        names = [each.name for each in self.addresses()]
        if len(set(names)) < len(names):
            raise ValueError(f"listen: two listeners are named {max(names, key=names.count)}: give each its own name")
        texts = [str(each) for each in self.addresses() if each.port]
        if len(set(texts)) < len(texts):
            raise ValueError(f"listen: {max(texts, key=texts.count)} is there twice: leave one out")
        return self

    def addresses(self) -> list[TcpAddress]:
        """The listeners' addresses, in order, each with a name."""
        return [each.parsed(f"listen-{number}") for number, each in enumerate(self.listen, 1)]

    def policy(self) -> Policy:
        """The numbers, for the core."""
        return Policy(
            ready_method=self.ready.method,
            ready_timeout=self.ready.timeout,
            ready_probe=self.ready.probe,
            probation=self.handoff.probation,
            drain_signal=self.drain.signal,
            drain_timeout=self.drain.timeout,
            drain_limit=self.drain.limit,
            stop_timeout=self.stop.timeout,
            restart_delay=self.restart.delay,
            restart_longest=self.restart.longest,
            restart_limit=self.restart.limit,
            restart_window=self.restart.window,
        )

    def launch(self) -> Launch:
        """How the server is run. Its environment is the supervisor's own, then what is configured."""
        service = self.service
        inherited = {name: value for name, value in os.environ.items() if name not in (*_FROM_SYSTEMD, *_OURS)}
        identity = _identity(service.user) if service.user else {}
        return Launch(
            argv=tuple(service.command),
            environment=tuple(sorted((inherited | identity | service.environment).items())),
            directory=service.directory or str(Path.cwd()),
            user=service.user,
            group=service.group,
            umask=None if service.umask is None else int(service.umask, 8),
            limits=tuple((name, *limit(name, value)) for name, value in service.limits.items()),
            stdout=service.stdout,
            stderr=service.stderr,
        )


def _known(look_up: Any, name: str, kind: str) -> None:  # noqa: ANN401 - pwd.getpwnam or grp.getgrnam
    try:
        look_up(name)
    except KeyError:
        raise ValueError(f"there is no such {kind} on this host") from None


def _identity(user: str) -> dict[str, str]:
    entry = pwd.getpwnam(user)
    return {"HOME": entry.pw_dir, "USER": user, "LOGNAME": user, "SHELL": entry.pw_shell}
