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
        self._began = self._since = time.monotonic()
        self._text = ""
        return self

    def __exit__(self, *_: object) -> None:
        self._finish()
        self._status.stop()

    def phase(self, text: str, event: dict[str, Any]) -> None:
        """A phase was entered: the last one is over."""
        self._finish()
        about = f"generation {event['candidate']}: " if event.get("candidate") else ""
        self._text, self._since = f"{about}{text}", time.monotonic()
        self._status.update(escape(self._text))

    def _finish(self) -> None:
        if self._text:
            self._console.print(f"[green]✓[/] {escape(self._text)} [dim]{time.monotonic() - self._since:.3f} s[/]")
        self._text = ""

    def _say(self, text: str) -> None:
        self._console.print(f"  [dim]{escape(text)}[/]")
