"""What a process says on a pipe, as it says it: waited for with a deadline, and never polled."""

import json
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

DEADLINE = 40.0
"""Seconds. Nothing here takes that long; a machine under load may be slow, and must not be wrong."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line that is a JSON object."""

    index: int
    fields: dict[str, Any]

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - JSON
        return self.fields[key]

    def matches(self, wanted: dict[str, Any]) -> bool:
        return all(self.fields.get(key) == value for key, value in wanted.items())


class Output:
    """Reads a pipe to its end. Lines that are JSON objects are events, the others are text."""

    def __init__(self, pipe: IO[str]) -> None:
        self.events: list[Event] = []
        self.text: list[str] = []
        self.ended = False
        self._pipe = pipe
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def until(self, what: str, done: Callable[[], Any], timeout: float = DEADLINE, step: float = DEADLINE) -> Any:  # noqa: ANN401 - whatever is waited for
        """Wait until `done` gives something; it is asked whenever there is a line more, and after `step` seconds."""
        ends = time.monotonic() + timeout
        with self._news:
            while not (found := done()):
                left = ends - time.monotonic()
                if left <= 0 or self.ended:
                    why = "the output ended" if self.ended else f"{timeout:g} s are over"
                    raise AssertionError(f"{why} without {what}; what was said last:\n{self.tail()}")
                self._news.wait(min(left, step))
            return found

    def event(self, since: int, timeout: float, **wanted: Any) -> Event:  # noqa: ANN401 - JSON
        """The first event from `since` on with these fields."""
        looked_at = since

        def find() -> Event | None:
            nonlocal looked_at
            for each in self.events[looked_at:]:
                looked_at = each.index + 1
                if each.matches(wanted):
                    return each
            return None

        found: Event = self.until(f"{wanted} from event {since} on", find, timeout)
        return found

    def tail(self, lines: int = 40) -> str:
        return "\n".join([*(json.dumps(each.fields) for each in self.events[-lines:]), "---", *self.text[-lines:]])

    def close(self, timeout: float = DEADLINE) -> None:
        """Wait for the end of the pipe: the end of the last process that holds it."""
        self._thread.join(timeout)
        assert not self._thread.is_alive(), "somebody still holds the pipe: an orphan"
        self._pipe.close()

    def _read(self) -> None:
        for line in self._pipe:
            event = _parsed(line)
            with self._news:
                if event is None:
                    self.text.append(line.rstrip("\n"))
                else:
                    self.events.append(Event(len(self.events), event))
                self._news.notify_all()
        with self._news:
            self.ended = True
            self._news.notify_all()


def _parsed(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def piped(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout
