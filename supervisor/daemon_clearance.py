"""Asks all that has to say yes before a candidate is started: each in a process of its own, one after the other.

Whoever stops waiting (an abort, a stop, a later supervisor) ends what is being asked. A supervisor that dies takes its
question along: the kernel kills it, and the next supervisor asks again from the beginning.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from msgspec import Struct, field

import supervisor
from supervisor import __version__
from supervisor.core.clearance import BLOCKS, NOTHING, Asking, Seen, filled, in_a_line, judged, variables
from supervisor.core.model import Failure, Life, Reason
from supervisor.core.value import replace
from supervisor.errors import HostError
from supervisor.linux import identity, names
from supervisor.linux.errand import Errand, Manner
from supervisor.linux.inherit import in_thread
from supervisor.paths import state_dir
from supervisor.releases.digest import digest
from supervisor.releases.preflight import surroundings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from supervisor.config.settings import Settings
    from supervisor.core.clearance import Clearance, Gate
    from supervisor.core.model import Generation, Release, State
    from supervisor.daemon_systemd import AboveUs
    from supervisor.engine.instances import Instances

_log = structlog.get_logger()

_BOOT = "import sys; sys.path[:] = sys.argv[2:]; from supervisor.releases.preflight.process import main; main()"
"""Has the process find this very package, and nothing in the current folder. It has no use for what `site` sets up."""
_OURS = str(Path(supervisor.__file__).parents[1])
_PATIENCE = 30.0
"""Seconds that the look at a file may take. It takes 0.2 on an idle machine."""
_LARGEST_ANSWER = 1 << 20
_KEPT = 4096
"""Bytes of what a command says."""


class Cleared(Struct, kw_only=True):
    """What was said of one release."""

    handoff: int = 0
    release: str = ""
    seen: tuple[Seen, ...] = ()
    said: list[dict[str, Any]] = field(default_factory=list)
    """Of each command: its name, whether it said yes, the seconds that it took, its last words."""

    @property
    def found(self) -> str:
        """What the look at its file has found, in a line."""
        return in_a_line(self.seen)

    def document(self) -> dict[str, Any]:
        """As it is kept with the history."""
        return {"preflight": self.found or None, "gates": list(self.said)}


class Clearances(Struct):
    """Asks, and knows what is being asked now and what was said last."""

    _instances: Instances
    _now: Callable[[], float]
    _state: Callable[[], State]
    _above: AboveUs | None
    """Told for how many seconds at the most nothing else will happen."""
    asking: Asking | None = None
    last: Cleared = field(default_factory=Cleared)
    _before: Cleared = field(default_factory=Cleared)
    """It may not have been told of yet when the next is asked about."""

    def of(self, handoff: int) -> Cleared:
        """What was said in a handoff, as long as there was no other since."""
        return next((each for each in (self.last, self._before) if each.handoff == handoff), Cleared())

    async def cleared(self, handoff: int, release: Release, settings: Settings) -> tuple[Release, Failure | None]:
        """Ask about a release: it, with its digest if that was wanted; and who said no. Raises HostError or OSError."""
        self._before, self.last = self.last, Cleared(handoff=handoff, release=release.id)
        wanted = settings.clearance
        try:
            failure = await self._looked(release, settings)
            if failure is not None or not (wanted.check or wanted.gates):
                return release, failure
            release = replace(release, sha256=release.sha256 or await in_thread(digest, release.path))
            for question in _questions(wanted, release, settings, self._serving().release):
                failure = await self._answered(question)
                if failure is not None:
                    break
            return release, failure
        finally:
            self.asking = None

    async def _looked(self, release: Release, settings: Settings) -> Failure | None:
        if settings.clearance.refuse == NOTHING or (settings.clearance.refuse == BLOCKS and self._runs(release)):
            return None
        self._ask("the file is looked at", _PATIENCE)
        utf8 = f"utf8={sys.flags.utf8_mode}"  # a path is to be decoded there as it will be encoded here
        argv = [sys.executable, "-S", "-X", utf8, "-c", _BOOT, release.path, _OURS, *sys.path]
        state = str(state_dir(settings.service, settings.state_dir))
        around = surroundings.of(release.launch, state=state, serving=self._instances.pids(self._serving().number))
        answer = await Errand(argv, around.to_json().encode(), most=_LARGEST_ANSWER).answer(_PATIENCE)
        self.last.seen = tuple(_understood(answer))
        return judged(self.last.seen, settings.clearance.refuse, release.path)

    def _runs(self, release: Release) -> bool:
        """Whether the very same is running now, so that nothing can keep it from it."""
        serving = self._serving()
        same = release.same_file(serving.release) and release.launch == serving.release.launch
        return same and serving.life is Life.READY

    async def _answered(self, question: _Question) -> Failure | None:
        gate, began = question.gate, self._now()
        self._ask(f"{question.called} is asked", gate.timeout)
        manner = Manner(name=question.called, environment=question.environment, directory=question.directory)
        failure, said = None, ""
        try:
            errand = Errand([*question.before, *question.argv], most=_KEPT, manner=manner)
            try:
                await errand.answer(gate.timeout)
            finally:
                said = errand.last_words()
        except HostError as refused:
            failure = Failure(question.reason, str(refused))
        seconds = round(self._now() - began, 3)
        self.last.said.append({"name": gate.name, "yes": failure is None, "seconds": seconds, "said": said})
        _log.info("gate_answered", name=gate.name, yes=failure is None, seconds=seconds, said=said)
        return failure

    def _ask(self, what: str, within: float) -> None:
        now = self._now()
        self.asking = Asking(what, now, now + within)
        if self._above is not None:
            self._above.may_take(within)

    def _serving(self) -> Generation:
        serving = self._state().serving
        assert serving is not None  # noqa: S101 - a handoff has a predecessor
        return serving


class _Question(Struct, frozen=True, kw_only=True):
    """One command, as it is run."""

    gate: Gate
    called: str
    reason: Reason
    before: Sequence[str]
    argv: Sequence[str]
    environment: dict[str, str]
    directory: str


def _questions(wanted: Clearance, release: Release, settings: Settings, previous: Release) -> Iterator[_Question]:
    told = dict(variables(settings.service, release, previous))
    launch = release.launch
    if wanted.check is not None:
        whose = names.identity(names.user(launch.user), launch.group, launch.groups, launch.capabilities)
        yield _Question(
            gate=wanted.check,
            called="the check",
            reason=Reason.CHECK,
            before=_before(identity.words(whose)),
            argv=filled(wanted.check.argv, release.path),
            environment=dict(launch.environment) | told,
            directory=launch.directory,
        )
    for gate in wanted.gates:
        yield _Question(
            gate=gate,
            called=f"gate {gate.name}",
            reason=Reason.GATE,
            before=_before([]),
            argv=filled(gate.argv, release.path),
            environment=dict(os.environ) | told,
            directory=launch.directory,
        )


def _before(words: Sequence[str]) -> list[str]:
    """What has the kernel kill it when we die. It is set last, as a change of user would undo it (prctl(2))."""
    if not os.access(identity.SETPRIV, os.X_OK):
        return list(words)
    dies = f"--pdeathsig={signal.SIGKILL.name.removeprefix('SIG')}"
    return [identity.SETPRIV, dies, *(words[1:] or ["--"])]


def _understood(answer: bytes) -> Iterator[Seen]:
    """Raises HostError: gapless was replaced on disk meanwhile, or what has looked gave no answer."""
    try:
        said = json.loads(answer.rstrip(b"\n").rpartition(b"\n")[2])
        if said["version"] != __version__:
            raise HostError(f"gapless is {said['version']} on disk by now, and this is {__version__}: restart it")
        for each in said["findings"]:
            yield Seen(each["level"], each["found"] + (f": {each['do']}" if each["do"] else ""))
    except (ValueError, TypeError, KeyError) as odd:
        raise HostError(f"what looks at files gave an answer that makes no sense ({odd})") from odd
