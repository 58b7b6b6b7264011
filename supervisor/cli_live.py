"""A handoff on a terminal: what is done stays, what goes on has a spinner and a clock."""

from __future__ import annotations

import time
from typing import Any, Self

from rich.console import Console
from rich.markup import escape

from supervisor.cli_ask import Teller


class LiveTeller(Teller):
    """Each phase becomes a line when it is over."""

    def __enter__(self) -> Self:
        self._console = Console(highlight=False)
        self._status = self._console.status("asking")
        self._status.start()
        self._began = self._since = time.time()
        self._text = ""
        return self

    def __exit__(self, *_: object) -> None:
        self._finish(time.time())
        self._status.stop()

    def phase(self, text: str, event: dict[str, Any]) -> None:
        """A phase was entered: the last one is over."""
        self._finish(event.get("at", time.time()))
        about = f"generation {event['candidate']}: " if event.get("candidate") else ""
        self._text, self._since = f"{about}{text}", event.get("at", time.time())
        self._status.update(escape(self._text))

    def _finish(self, at: float) -> None:
        if self._text:
            self._console.print(f"[green]✓[/] {escape(self._text)} [dim]{max(0.0, at - self._since):.3f} s[/]")
        self._text = ""

    def _say(self, text: str, event: dict[str, Any]) -> None:
        del event
        self._console.print(f"  [dim]{escape(text)}[/]")
