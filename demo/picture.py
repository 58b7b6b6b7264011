"""A run as a picture of characters: requests per version over time, and below them the instants of each kind."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_LABEL = 9
"""Columns to the left of the time line."""
_COLOURS = ("cyan", "green", "yellow", "magenta", "blue")
_STEPS = (1, 2, 5)
_FEWEST_COLUMNS_PER_TICK = 8


@dataclass(frozen=True, slots=True)
class Scale:
    """Which column an instant is in."""

    start: float
    end: float
    columns: int

    def column(self, at: float) -> int | None:
        """The column of an instant, if it is within the picture."""
        where = math.floor((at - self.start) / (self.end - self.start) * self.columns)
        return where if 0 <= where < self.columns else None

    @property
    def step(self) -> float:
        """Seconds per column."""
        return (self.end - self.start) / self.columns

    def count(self, instants: Iterable[float]) -> list[int]:
        """How many fall into each column."""
        counts = [0] * self.columns
        for at in instants:
            where = self.column(at)
            if where is not None:
                counts[where] += 1
        return counts


def scale_for(width: int, start: float, end: float) -> Scale:
    """A time line that fits a terminal of this width."""
    return Scale(start, end, max(20, width - _LABEL - 1))


def lanes(scale: Scale, answered: Mapping[str, Sequence[float]], *, full: float, rows: int) -> Iterator[Text]:
    """A lane of bars for each version; a bar is as high as `full` requests per second make it."""
    for number, (name, instants) in enumerate(answered.items()):
        heights = [_eighths(count / (full * scale.step), 8 * rows - 1) for count in scale.count(instants)]
        for row in range(rows - 1, -1, -1):
            bar = "".join(_EIGHTHS[max(0, min(8, height - 8 * row))] for height in heights)
            label = name if row == 0 else ""
            yield _line(label, bar, _COLOURS[number % len(_COLOURS)])


def dots(scale: Scale, label: str, instants: Sequence[float], style: str, glyph: str = "▲") -> Text:
    """A row with a sign in each column in which something happened."""
    return _line(label, "".join(glyph if count else " " for count in scale.count(instants)), style)


def names(scale: Scale, label: str, at: Sequence[tuple[float, str]], style: str) -> Text:
    """A row of short names, each beginning at its instant. One that has no room is left out."""
    row = [" "] * scale.columns
    for instant, name in at:
        where = scale.column(instant)
        if where is None or where + len(name) > scale.columns:
            continue
        if all(cell == " " for cell in row[max(0, where - 1) : where + len(name)]):
            row[where : where + len(name)] = name
    return _line(label, "".join(row), style)


def axis(scale: Scale, *, unit: float, name: str, origin: float) -> Iterator[Text]:
    """The time line with its ticks, and their numbers, in units since the origin."""
    tick = _tick(scale.step / unit) * unit
    line, numbers = ["─"] * scale.columns, [" "] * (scale.columns + _LABEL)
    first = math.ceil((scale.start - origin) / tick)
    for number in range(first, math.floor((scale.end - origin) / tick) + 1):
        where = scale.column(origin + number * tick + scale.step / 1e6)
        if where is None:
            continue
        line[where] = "┴"
        text = f"{number * tick / unit:.0f}" + (f" {name}" if number == max(first, 0) else "")
        if where + len(text) < len(numbers):
            numbers[where : where + len(text)] = text
    yield _line("", "".join(line), "dim")
    yield _line("", "".join(numbers).rstrip(), "dim")


def _line(label: str, body: str, style: str) -> Text:
    text = Text(no_wrap=True, overflow="crop")
    text.append(f"{label[: _LABEL - 1]:>{_LABEL - 1}} ", style=style)
    text.append(body.rstrip(), style=style)
    return text


def _eighths(share: float, full: int) -> int:
    """The height of a bar, in eighths of a row; what is there at all is seen, and a gap to the lane above remains."""
    return min(full, max(1, round(share * full))) if share > 0 else 0


def _tick(step: float) -> float:
    """A round number of units between two ticks, which are not to stand too close."""
    least = step * _FEWEST_COLUMNS_PER_TICK
    size = 10.0 ** math.floor(math.log10(least))
    return next(size * each for each in (*_STEPS, 10) if size * each >= least * (1 - 1e-9))
