"""The run: `scripts/demo`. Tells what happens while it happens, then draws the account of it."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console
from rich.style import Style
from rich.text import Text

from demo import account, report
from demo.chronicle import Chronicle, Line
from demo.releases import CRASH_AFTER, DYING, GOOD, REFUSED, VERSIONS, build
from demo.stage import RATE, Stage, StageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.status import Status

    from demo.chronicle import Handoff
    from demo.releases import Release

REST = 6.0
"""Seconds of load before the first HUP."""
BETWEEN = 2.0
"""Seconds from one thing to the next."""
_PATIENCE = 20.0
_INDENT = 23
_STYLES = {
    "HUP": "bold cyan",
    "shift": "green",
    "commit": "bold green",
    "rolled back": "bold yellow",
    "refused": "bold yellow",
    "back": "yellow",
}
LOST, BROKEN, INTERRUPTED = 1, 2, 130
"""Exit statuses: a request was lost or a handoff came out wrong; the demonstration did not work; it was interrupted."""


class Show:
    """The story, told on a console."""

    def __init__(self, stage: Stage, console: Console, status: Status | None) -> None:
        self._stage, self._console, self._status = stage, console, status
        self.chronicle = Chronicle(GOOD[0].name, lambda text: text.replace(f"{VERSIONS}/", ""))
        self.began = 0.0

    def run(self) -> None:
        """All of it, up to the end of the load."""
        self._stage.deploy(GOOD[0])
        self._stage.start()
        self._stage.start_load()
        self.began = time.time()
        self.say(Line(self.began, "serving", f"v1 on {self._stage.address}, supervised by process {self._stage.pid}"))
        text = f"{RATE:,} requests/s, half of them on a new connection each"
        self.say(Line(self.began, "load", text))
        self._pause(REST)
        for release in GOOD[1:]:
            self._hand_over(release, lambda handoff: handoff.drained)
            self._pause(BETWEEN)
        for release in (*REFUSED, DYING):
            self._hand_over(release, lambda handoff: handoff.refused)
            self._pause(BETWEEN)

    def say(self, line: Line) -> None:
        """One line of the story."""
        first, *more = textwrap.wrap(line.text, max(30, self._console.width - _INDENT))
        text = Text(f"{max(0.0, line.at - self.began):7.3f} s  ", style="dim")
        text.append(f"{line.word:<12}", style=Style.parse(f"not dim {_STYLES.get(line.word, '')}"))
        text.append("\n".join([first, *(" " * _INDENT + each for each in more)]), style="not dim")
        self._console.print(text)

    def _hand_over(self, release: Release, until: Callable[[Handoff], float | None]) -> None:
        self._stage.deploy(release)
        at = time.time()
        self.chronicle.hup(release.name, at)
        self._stage.hup()
        fault = f", which {release.fault}" if release.fault else ""
        self.say(Line(at, "HUP", f"current -> {release.name}{fault}; kill -HUP {self._stage.pid}"))
        deadline = time.monotonic() + _PATIENCE
        while until(self.chronicle.now) is None:
            # A handoff that came out otherwise than it should ends the wait, and is told at the end.
            ended = self.chronicle.now.over
            if time.monotonic() > deadline or (ended and self.chronicle.now.refused):
                return
            self._take(0.1)

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._take(min(left, 0.1))

    def _take(self, seconds: float) -> None:
        """Wait for an event for that long at most, and tell it."""
        if self._status is not None:
            self._status.update(report.live(self._stage.live, time.time() - self.began))
        try:
            event = self._stage.events.get(timeout=seconds)
        except queue.Empty:
            return
        line = self.chronicle.note(event)
        if line is not None:
            self.say(line)


def crash_in(stage: Stage, chronicle: Chronicle) -> account.Crash | None:
    """The server that died while it had clients."""
    for handoff in chronicle.handoffs:
        if handoff.back is not None and handoff.pid is not None and handoff.started is not None:
            resets = (each["client_ports"] for each in stage.log() if each.get("event") == "queue_reset")
            queued = frozenset(port for ports in resets for port in ports)
            accepted = account.accepted_by(stage.connections, handoff.pid)
            return account.Crash(
                handoff.new, handoff.pid, handoff.started + CRASH_AFTER, handoff.back, accepted, queued
            )
    return None


def wrong_in(chronicle: Chronicle, exit_status: int, left: list[int]) -> list[str]:
    """What did not come out as it should have, requests apart."""
    done = {each.new for each in chronicle.handoffs if each.drained}
    undone = {each.new for each in chronicle.handoffs if each.refused}
    found = [f"{each.name} did not take over" for each in GOOD[1:] if each.name not in done]
    found += [f"{each.name} was not refused" for each in (*REFUSED, DYING) if each.name not in undone]
    if exit_status:
        found.append(f"gapless ended with exit status {exit_status}")
    if left:
        found.append(f"server processes were left behind: {left}")
    return found


def play(console: Console) -> int:
    """The whole demonstration; its exit status."""
    with Stage() as stage:
        with ExitStack() as stack:
            status = stack.enter_context(console.status("")) if console.is_terminal else None
            show = Show(stage, console, status)
            show.run()
            ending = time.time()
            summary = stage.end_load()
        exit_status = stage.end_supervisor()
        left = stage.left_behind()
        requests = account.read(stage.record)
        crash = crash_in(stage, show.chronicle)
        verdict = account.judge(summary, crash)
    wrong = wrong_in(show.chronicle, exit_status, left)
    if stage.folder.exists():
        wrong.append(f"{stage.folder} could not be removed")
    if not wrong:
        show.say(Line(time.time(), "stopped", "load and service; no process and no file is left"))
    faults = {each.name: each.fault for each in (*REFUSED, DYING)}
    run = report.Run(show.began, ending, requests, show.chronicle.handoffs, summary, verdict, crash, faults)
    report.draw(console, run)
    for each in wrong:
        console.print(f"wrong: {each}", style="bold red")
    return LOST if wrong or verdict.lost_count else 0


def main() -> int:
    """Play it; whatever interrupts it, nothing is left behind."""

    def end(number: int, frame: Any) -> NoReturn:  # noqa: ANN401 - a frame, which nobody looks at
        del frame
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr] # they are text files here
    console = Console(highlight=False, markup=False)
    try:
        console.print("building eight versions of examples/go-server", style="dim")
        build()
        return play(console)
    except subprocess.CalledProcessError as failed:
        console.print(f"demo: {failed}", style="bold red")
        return BROKEN
    except StageError as failed:
        console.print(f"demo: {failed}", style="bold red")
        return BROKEN
    except KeyboardInterrupt:
        console.print("interrupted: everything has been stopped")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
