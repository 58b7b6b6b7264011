"""The tables of the configuration, and their translation into the plain values that the other rooms take."""

from __future__ import annotations

import os
import pwd
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from supervisor.config import gates, told, values
from supervisor.config.asking import HttpTable, WarmUpTable
from supervisor.config.control import ControlTable
from supervisor.config.gates import GateTable, PreflightTable
from supervisor.config.health import HealthTable, RecycleTable
from supervisor.config.releases import ReleasesTable
from supervisor.config.rollback import RollbackTable
from supervisor.config.service import ServiceTable
from supervisor.core.launch import Launch, Listen
from supervisor.core.policy import HttpCheck, Policy
from supervisor.errors import ConfigurationError
from supervisor.linux import options
from supervisor.linux.listener import parse_address
from supervisor.linux.unix_address import KEYS as UNIX_KEYS

if TYPE_CHECKING:
    from supervisor.core.clearance import Clearance
    from supervisor.linux.address import Address

Duration = Annotated[float, BeforeValidator(values.duration)]
Positive = Annotated[float, BeforeValidator(values.some_time)]
Name = Annotated[str, AfterValidator(values.name)]
Word = Annotated[str, AfterValidator(values.word)]
FullPath = Annotated[str, AfterValidator(values.path)]
Seconds = Annotated[int, BeforeValidator(values.whole_seconds)]
Device = Annotated[str, AfterValidator(values.device)]


class _Table(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


_SOCKET_OPTIONS = sorted(options.TCP | options.UDP)


class ListenTable(_Table):
    """[[listen]]: one address."""

    name: Name | None = None
    address: str
    mode: Literal["reuseport", "shared"] = "reuseport"
    backlog: int = Field(default=4096, ge=1, le=65535)
    v6only: bool | None = None
    socket_mode: Word | None = None
    socket_user: Word | None = None
    socket_group: Word | None = None
    defer_accept: Seconds | None = None
    fast_open: Annotated[int, Field(ge=1, le=65535)] | None = None
    keep_alive: bool | None = None
    keep_alive_time: Seconds | None = None
    keep_alive_interval: Seconds | None = None
    keep_alive_probes: Annotated[int, Field(ge=1, le=127)] | None = None
    no_delay: bool | None = None
    device: Device | None = None
    free_bind: bool | None = None
    receive_buffer: Annotated[int, Field(ge=1, le=1 << 30)] | None = None

    @field_validator("address")
    @classmethod
    def _check_address(cls, value: str) -> str:
        try:
            parse_address(values.address_text(value), name="new")
        except ValueError as wrong:
            raise ValueError(str(wrong).removeprefix(f"{value!r} ")) from None
        return value

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        self.parsed("new")
        if self.address.startswith("unix:@") and self.mode != "shared" and "mode" in self.model_fields_set:
            raise ValueError('mode = "reuseport" means nothing for an abstract socket: want "shared"')
        for key in ("keep_alive_time", "keep_alive_interval", "keep_alive_probes"):
            if getattr(self, key) is not None and not self.keep_alive:
                raise ValueError(f"{key} means nothing without keep_alive = true: add that, or leave it out")
        if self.address.startswith("udp:") and "backlog" in self.model_fields_set:
            raise ValueError("backlog means nothing for UDP: leave it out, or say receive_buffer")
        return self

    def listen_as(self, number: int) -> Listen:
        """As the core keeps it; `number` names one that has no name of its own."""
        return Listen(
            name=self.name or f"listen-{number}",
            address=self.address,
            mode=self.mode,
            backlog=self.backlog,
            v6only=self.v6only,
            options=tuple(self._options().items()),
        )

    def parsed(self, name: str) -> Address:
        """As the listeners take it; `name` if it has none of its own."""
        given = self._options() | ({} if self.v6only is None else {"v6only": self.v6only})
        return parse_address(self.address, name=self.name or name, mode=self.mode, backlog=self.backlog, options=given)

    def _options(self) -> dict[str, str | int]:
        """The keys that only some kinds of listeners have."""
        given = {key: getattr(self, key) for key in (*sorted(UNIX_KEYS), *_SOCKET_OPTIONS)}
        return {key: value for key, value in given.items() if value is not None}


class ReadyTable(_Table):
    """[ready]: when a generation counts as able to serve."""

    method: Literal["auto", "pipe", "notify", "einhorn", "accept", "http"] = "auto"
    timeout: Positive = 30.0
    probe: bool = True
    http: HttpTable | None = None
    warm_up: WarmUpTable | None = None

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.http is not None and self.method != "http":
            raise ValueError(f'http is there, and method = "{self.method}": want method = "http" with it')
        return self


class HandoffTable(_Table):
    """[handoff]: how one generation follows another."""

    mode: Literal["overlap", "exclusive"] = "overlap"
    probation: Duration = 5.0
    ahead: bool = True


class DrainTable(_Table):
    """[drain]: how a replaced generation ends."""

    signal: Annotated[str, BeforeValidator(values.signal_name)] = "TERM"
    timeout: Positive = 30.0
    limit: int = Field(default=4, ge=1, le=100)


class RestartTable(_Table):
    """[restart]: how a generation that died is started again."""

    delay: Positive = 0.1
    longest: Positive = 30.0
    limit: int = Field(default=5, ge=1, le=1000)
    window: Positive = 60.0

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.longest < self.delay:
            raise ValueError(
                f"longest ({self.longest:g} s) is less than delay ({self.delay:g} s): "
                "want the time between two starts to grow, from delay up to longest"
            )
        return self


class StopTable(_Table):
    """[stop]: how the whole service ends."""

    timeout: Positive = 30.0


_NOT_PASSED_ON = frozenset((*values.FROM_SYSTEMD, *values.OF_A_SHELL, *values.OURS))


class Configuration(_Table):
    """The whole file."""

    service: ServiceTable
    listen: list[ListenTable] = Field(min_length=1)
    ready: ReadyTable = ReadyTable()
    handoff: HandoffTable = HandoffTable()
    drain: DrainTable = DrainTable()
    restart: RestartTable = RestartTable()
    stop: StopTable = StopTable()
    health: HealthTable = HealthTable()
    recycle: RecycleTable = RecycleTable()
    rollback: RollbackTable = RollbackTable()
    releases: ReleasesTable = ReleasesTable()
    preflight: PreflightTable = PreflightTable()
    gate: list[GateTable] = Field(default_factory=list)
    control: ControlTable = ControlTable()

    @model_validator(mode="after")
    def _check_listeners(self) -> Self:
        addresses = self.addresses
        for name, count in Counter(each.name for each in addresses).items():
            if count > 1:
                raise ValueError(f'listen: {count} listeners have name = "{name}": want another name for each')
        for text, count in Counter(str(each) for each in addresses if each.fixed).items():
            if count > 1:
                raise ValueError(f'listen: address = "{text}" is there {count} times: want it once')
        return self

    @model_validator(mode="after")
    def _check_asked(self) -> Self:
        check, warm_up = self.ready.method == "http", self.ready.warm_up
        for table in (*([self.ready.http or HttpTable()] if check else []), *([warm_up] if warm_up else [])):
            self._check_door("ready", table.listener or self._first_stream())
        health = self.health
        if health.probe == "http":
            self._check_door("health", (health.http.listener if health.http else None) or self._first_stream())
        elif health.probe == "accept" and all(str(each).startswith("udp:") for each in self.addresses):
            raise ValueError('health.probe = "accept": a server of datagrams accepts nothing: leave it out')
        return self

    def _check_door(self, table: str, name: str) -> None:
        """What is asked there is to be answered by the one that is meant and nobody else."""
        found = next((each for each in self.addresses if each.name == name), None)
        if found is None:
            known = ", ".join(each.name for each in self.addresses)
            raise ValueError(f'{table}: "{name}" is the name of no listener: want one of {known} to be asked over HTTP')
        if str(found).startswith("udp:"):
            raise ValueError(f'{table}: "{name}" takes datagrams: want a TCP or Unix listener to be asked over HTTP')
        if found.mode == "shared":
            raise ValueError(
                f'{table}: "{name}" is a socket of all generations, so that another than is meant may answer there: '
                "want another listener to be asked over HTTP, or none"
            )

    @model_validator(mode="after")
    def _check_gates(self) -> Self:
        gates.check_names(self.gate)
        return self

    @model_validator(mode="after")
    def _check_told(self) -> Self:
        if "einhorn" not in self.service.dialects and self.ready.method == "einhorn":
            raise ValueError('ready.method = "einhorn": want service.dialects = ["einhorn"] with it')
        told.check_names(self.service.command, self.service.stdin, self._listens())
        told.check_dialects(self.service.dialects, self.service.environment, self._listens())
        return self

    @model_validator(mode="after")
    def _check_store(self) -> Self:
        self.releases.check_command(self.service.command)
        return self

    def _listens(self) -> tuple[Listen, ...]:
        return tuple(each.listen_as(number) for number, each in enumerate(self.listen, 1))

    @property
    def drain_signal(self) -> str:
        """What a generation is sent to end it; workers of einhorn's know another than the rest of the world."""
        if "einhorn" in self.service.dialects and "signal" not in self.drain.model_fields_set:
            return "USR2"
        return self.drain.signal

    @cached_property
    def addresses(self) -> tuple[Address, ...]:
        """The listeners' addresses, in order, each with a name."""
        return tuple(each.parsed(f"listen-{number}") for number, each in enumerate(self.listen, 1))

    def policy(self) -> Policy:
        """The numbers, for the core."""
        return Policy(
            ready_method=self.ready.method,
            ready_timeout=self.ready.timeout,
            ready_probe=self.ready.probe,
            ready_http=self._http_check(),
            warm_up=self.ready.warm_up.wanted(self._first_stream()) if self.ready.warm_up else None,
            exclusive=self.handoff.mode == "exclusive",
            ahead=self.handoff.ahead,
            probation=self.handoff.probation,
            drain_signal=self.drain_signal,
            drain_timeout=self.drain.timeout,
            drain_limit=self.drain.limit,
            stop_timeout=self.stop.timeout,
            restart_delay=self.restart.delay,
            restart_longest=self.restart.longest,
            restart_limit=self.restart.limit,
            restart_window=self.restart.window,
            watchdog=self.health.watchdog,
            health_probe=self.health.asked(self._first_stream()),
            health_delay=self.health.delay,
            health_longest=self.health.longest,
            rollback_after=self.rollback.after,
            rollback_within=self.rollback.within,
            rollback_quarantine=self.rollback.quarantine,
            recycle_memory=self.recycle.memory,
            recycle_age=self.recycle.age,
        )

    def clearance(self) -> Clearance:
        """What is to be asked before a candidate is started."""
        return gates.clearance(self.preflight, self.gate)

    def _http_check(self) -> HttpCheck | None:
        return (self.ready.http or HttpTable()).check(self._first_stream()) if self.ready.method == "http" else None

    def _first_stream(self) -> str:
        """Who is asked over HTTP unless a listener is named."""
        streams = (each.name for each in self.addresses if not str(each).startswith("udp:"))
        return next(streams, self.addresses[0].name)

    def launch(self) -> Launch:
        """How the server is run. Its environment is the supervisor's own, then what is configured."""
        service = self.service
        inherited = {name: value for name, value in os.environ.items() if _is_passed_on(name)}
        identity = _identity(service.user) if service.user else {}
        return Launch(
            argv=tuple(service.command),
            listen=self._listens(),
            environment=tuple(sorted((inherited | identity | service.environment).items())),
            directory=service.directory or _working_directory(),
            user=service.user,
            group=service.group,
            groups=None if service.groups is None else tuple(service.groups),
            capabilities=None if service.capabilities is None else tuple(service.capabilities),
            umask=None if service.umask is None else int(service.umask, 8),
            limits=tuple((name, *both) for name, both in service.limits.items()),
            nice=service.nice,
            oom_score_adj=service.oom_score_adj,
            dialects=tuple(service.dialects),
            stdin=service.stdin,
            stdout=service.stdout,
            stderr=service.stderr,
            store=self.releases.store(),
        )


def _is_passed_on(name: str) -> bool:
    """What was said to gapless itself stays with it. A variable without a name is one that env(1) does not take."""
    return bool(name) and name not in _NOT_PASSED_ON and not name.startswith(tuple(values.DIALECTS.values()))


def _working_directory() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - what the kernel says, and no Path is wanted of it
    except OSError:
        raise ConfigurationError(
            "the folder that gapless was started in is gone: start it elsewhere, or give service.directory"
        ) from None


def _identity(user: str) -> dict[str, str]:
    entry = pwd.getpwnam(user)
    return {"HOME": entry.pw_dir, "USER": user, "LOGNAME": user, "SHELL": entry.pw_shell}
