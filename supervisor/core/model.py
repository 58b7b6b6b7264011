"""What is true of a service: its generations, the handoff under way, and what was asked for.

Everything is frozen. Times are seconds of the host's monotonic clock, which the supervisors of one boot share.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from supervisor.core.policy import Policy
from supervisor.core.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.core.launch import Launch
    from supervisor.core.outcome import Outcome
    from supervisor.core.record import Served


class Role(StrEnum):
    """What a generation is to the clients."""

    CANDIDATE = "candidate"
    SERVING = "serving"
    STANDBY = "standby"
    DRAINING = "draining"


class Life(StrEnum):
    """What a generation's process is doing. Entering one sets the only deadline that it may have."""

    DOWN = "down"
    """No process. Until: it is started again (serving and standby only)."""
    SPAWNING = "spawning"
    """Being created, or created and held before its exec: it has run no instruction of the server yet."""
    STARTING = "starting"
    """Runs and has not shown that it can serve. Until: it is given up."""
    READY = "ready"
    """Accepts connections. Until (draining only): it is told to end though clients wait in its queue."""
    ENDING = "ending"
    """Has been sent the drain signal. Until: it is killed."""
    KILLED = "killed"
    """Has been sent KILL with all that it started. Until: KILL is sent again."""


class Phase(StrEnum):
    """Where a handoff is. `RETURN` and `WITHDRAW` are ways back; all others lead to commit."""

    VERIFY = "verify"
    YIELD = "yield"
    """Exclusive only: the old generation ends, and its sockets stay open for the candidate."""
    START = "start"
    READY = "ready"
    SHIFT = "shift"
    PROBATION = "probation"
    SETTLE = "settle"
    """After a probation of no length: the old generation's queue empties before it is told to end."""
    RETURN = "return"
    """Connections are steered back to the old generation, which has a process of its own."""
    WITHDRAW = "withdraw"
    """Exclusive only: whoever of the two runs ends, and then the old one is started again on the same sockets."""


class Mode(StrEnum):
    """What the whole service is meant to do."""

    RUNNING = "running"
    STOPPING = "stopping"
    LEFT = "left"
    """The supervisor went away alone (QUIT): its children live on for the next one."""


class Reason(StrEnum):
    """Why a handoff did not end in a commit, or a generation is down."""

    INVALID_CONFIGURATION = "invalid configuration"
    BAD_RELEASE = "bad release"
    NO_MEANS = "the host has no means left to look at it"
    PREFLIGHT = "preflight"
    CHECK = "its own check says no"
    GATE = "a gate says no"
    NO_PREVIOUS = "no previous release"
    NO_SUCH_RELEASE = "no such release to go back to"
    QUARANTINED = "in quarantine"
    SPAWN_FAILED = "could not be started"
    EXEC_FAILED = "exec failed"
    DIED = "died before it was ready"
    CLOSED_READY = "closed the readiness pipe without a word"
    TIMED_OUT = "not ready in time"
    NOT_ACCEPTING = "said that it was ready but accepted no connection"
    DIED_IN_PROBATION = "died in probation"
    STEERING_FAILED = "connections could not be steered"
    ABORTED = "aborted"
    STOPPING = "the service is stopping"
    INTERRUPTED = "supervisor and server have ended meanwhile"
    DISPLACED = "displaced by a later request"
    NO_WAY_BACK = "no generation to go back to"
    NOTHING_TO_ABORT = "no handoff is under way"
    NOT_CURRENT = "not the current release"
    OTHER_LISTENERS = "the listeners have changed"
    HUNG = "hung"
    UNHEALTHY = "failed its health probe"
    OUTGROWN = "uses more memory than it may"
    AGED = "as old as it may get"


class Failure(Struct, frozen=True):
    """A reason, and what was seen (`exit status 3`, a key and its value, a file)."""

    reason: Reason
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else str(self.reason)


class Release(Struct, frozen=True, kw_only=True, cache_hash=True):
    """An immutable version of the server, as it was found when it was pinned."""

    id: str
    path: str
    device: int
    inode: int
    size: int
    mtime_ns: int
    launch: Launch
    sha256: str | None = None
    """None until it has been computed, beside the start-up."""
    version: str | None = None
    """What it is called in the store; None: it is not from there."""
    sealed: str | None = None
    """The digest of its manifest: what is not as that says is not run. None: it has none."""
    ctime_ns: int | None = None
    """When the file was changed last, as it was when its digest was taken (None: that is not known well enough)."""

    def same_file(self, other: Release) -> bool:
        """Whether both are one file, untouched in between, as far as the file system can tell."""
        mine = (self.path, self.device, self.inode, self.size, self.mtime_ns)
        return mine == (other.path, other.device, other.inode, other.size, other.mtime_ns)


class Process(Struct, frozen=True):
    """A process that cannot be taken for another: a pid alone may be used again."""

    pid: int
    start_ticks: int
    """/proc/PID/stat field 22: clock ticks after boot."""


class Ask(StrEnum):
    """What can be asked for that takes a handoff."""

    UPGRADE = "upgrade"
    ROLLBACK = "rollback"
    REPLACE = "replace"
    """By a fresh copy of what serves. The service itself asks for that, and nobody else."""
    FALLBACK = "fallback"
    """To the last good release, from one that fails too often. It asks for that itself, too."""


class Request(Struct, frozen=True, kw_only=True):
    """One request for a handoff, and who made it."""

    id: str
    ask: Ask = Ask.UPGRADE
    way: str = "signal"
    """a signal's name or control; health, recycle, deaths or follow, where the service itself asks"""
    uid: int | None = None
    pid: int | None = None
    if_current: str | None = None
    """The release that is to be serving when this is taken up; with another it is refused."""
    to: str | None = None
    """What a rollback is to lead to, by a name of it; None: to the release that served before."""
    because: str = ""
    """Why the service itself asks."""
    version: str | None = None
    """The version in the store that is asked for; None: what the configuration leads to."""


ANYWHERE: Final = "*"
"""Said of where `current` leads, as long as nobody has looked. No version is called so."""


_AILING = frozenset({Reason.HUNG, Reason.UNHEALTHY})


class Health(Struct, frozen=True, kw_only=True):
    """How a process fares that serves."""

    watchdog: float | None = None
    """Seconds that it may be silent, from its first WATCHDOG=1 on. None: it has sent none; 0: it wants no watchdog."""
    ailment: Failure | None = None
    """Why it is to be replaced."""
    since: float | None = None
    """When that was found, or found to be over."""
    oom_kills: int = 0
    """Processes of it that the kernel has killed for want of memory, since it was committed."""
    oom_at: float | None = None
    """When that was counted as a failure last."""

    @property
    def fit(self) -> bool:
        """Whether it serves as it should, though it may be one to be recycled."""
        return self.ailment is None or self.ailment.reason not in _AILING


class Generation(Struct, frozen=True, kw_only=True, cache_hash=True):
    """One running instance of a release on sockets of its own. Started again, it is the same generation's next run."""

    number: int
    release: Release
    role: Role
    drain_signal: str
    """As configured when it was begun: another release may end by another signal."""
    life: Life
    since: float
    """When it entered its present life."""
    until: float | None = None
    run: int = 1
    sockets: int | None = None
    """Which set of sockets it holds; None once they are closed. A candidate that takes the place of a generation
    whose process is gone borrows that one's set, so that the clients in its queue are served."""
    process: Process | None = None
    began: float = 0.0
    """When its present process was made."""
    spoke: str | None = None
    """By what it has said that it is ready (pipe, notify)."""
    spoke_at: float | None = None
    seen: str = ""
    """What was seen last of it that kept it from being ready, in words."""
    ready_at: float | None = None
    served: bool = False
    """Whether clients have ever been sent to it."""
    failures: int = 0
    """Deaths in a row, none of them after a good while of service."""
    last_exit: str | None = None
    health: Health = Health()

    @property
    def accepts(self) -> bool:
        """Whether what waits in its queue will be served: it accepts, or is started again because it serves."""
        return self.life is Life.READY or self.role is Role.SERVING


class Handoff(Struct, frozen=True, kw_only=True):
    """One change of generation, from trigger to commit."""

    number: int
    request: Request
    predecessor: int
    phase: Phase
    since: float
    until: float | None = None
    candidate: int | None = None
    goal: Served | None = None
    """What it is to go back to, as that is recorded."""
    release: Release | None = None
    """What the candidate is to run, as it was verified."""
    policy: Policy | None = None
    """As the configuration was when it began; takes effect with the commit."""
    failure: Failure | None = None
    undone_by: Request | None = None
    """A rollback that was asked for while the old generation still stood by."""
    aborted_by: tuple[Request, ...] = ()
    """Who asked for the way back that is under way, and hears of its end."""
    phases: tuple[tuple[Phase, float], ...] = ()
    """Each phase with the time it was entered."""
    current: str | None = ANYWHERE
    """The version that the store's `current` led to when the request was read; None: to none."""

    @property
    def exclusive(self) -> bool:
        """Whether the old generation and the candidate may never run at one time."""
        return self.policy is not None and self.policy.exclusive


class State(Struct, frozen=True, kw_only=True, cache_hash=True):
    """All that is decided upon. What the journal holds."""

    policy: Policy = field(default_factory=Policy)
    mode: Mode = Mode.RUNNING
    generations: tuple[Generation, ...] = ()
    handoff: Handoff | None = None
    pending: Request | None = None
    previous: Release | None = None
    """The release that served before the present one."""
    record: Record = field(default_factory=Record)
    target: int | None = None
    """The set of sockets that the kernel is known to send new connections to."""
    spoken: bool = False
    """A generation of this service has once said that it was ready: from then on silence is not readiness."""
    last_generation: int = 0
    last_handoff: int = 0
    replacements: int = 0
    """Handoffs in a row that the service itself has asked for."""
    replace_at: float | None = None
    """When it may ask for another; None: at once."""
    concluded: Outcome | None = None
    """How the last handoff ended: a supervisor that dies before it has told that is followed by one that does."""
    killed: bool = False
    """While stopping, somebody had to be killed."""

    def find(self, number: int | None) -> Generation | None:
        """The generation of that number, while it exists."""
        return next((each for each in self.generations if each.number == number), None)

    def with_role(self, role: Role) -> Iterator[Generation]:
        """Generations in that role, oldest first."""
        return (each for each in self.generations if each.role is role)

    @property
    def serving(self) -> Generation | None:
        """The generation that new connections are meant for. None only before the first and while stopping."""
        return next(self.with_role(Role.SERVING), None)

    @property
    def standby(self) -> Generation | None:
        """The generation that was replaced and can take over at once."""
        return next(self.with_role(Role.STANDBY), None)

    def holders(self, sockets: int | None) -> Iterator[Generation]:
        """Generations that hold that set of sockets."""
        return (each for each in self.generations if sockets is not None and each.sockets == sockets)

    def borrowed(self, generation: Generation) -> bool:
        """Whether another generation holds the same sockets."""
        return any(each.number != generation.number for each in self.holders(generation.sockets))

    def lent(self, generation: Generation) -> bool:
        """Whether a generation that is to live holds the same sockets: started too, it would take half its clients."""
        others = (each for each in self.holders(generation.sockets) if each.number != generation.number)
        return any(each.role is not Role.DRAINING for each in others)

    def gives_way(self, generation: Generation) -> bool:
        """Whether an exclusive handoff has it end, so that the other of the two can be started."""
        handoff = self.handoff
        if handoff is None or handoff.phase not in {Phase.YIELD, Phase.WITHDRAW}:
            return False
        return generation.number in {handoff.predecessor, handoff.candidate}
