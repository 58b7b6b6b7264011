"""Tables that fit the terminal: what matters least goes first, and what is long moves to a line of its own."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

_GAP = "  "
_INDENT = 5
_SHORTEST = 14
_UNBOUNDED = 500
"""Columns where there is no terminal: whoever reads a pipe can wrap lines, and cannot put them together again."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    heading: str
    right: bool = False
    goes: int = 0
    """When there is no room: the highest goes first, 0 never."""
    shrinks: bool = False
    """Its cells are shortened in the middle when nothing else is left to go."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a cell for each column, then what flows."""

    cells: Sequence[str]
    flowing: str = ""
    style: str = ""


def lay_out(columns: Sequence[Column], rows: Sequence[Row], flowing: str, width: int) -> list[Text]:
    """The table's lines, none of them wider than `width` if that can be. `flowing` heads what is last in each row."""
    cells = [[clean(cell) for cell in row.cells] for row in rows]
    widths = [max(len(column.heading), *(len(row[at]) for row in cells), 0) for at, column in enumerate(columns)]
    kept = _kept(columns, widths, width)
    over = _total(kept, widths) - width
    for at in kept:
        if columns[at].shrinks and over > 0:
            widths[at] = max(min(_SHORTEST, widths[at]), widths[at] - over)
    texts = [clean(row.flowing) for row in rows]
    room = width - _total(kept, widths) - len(_GAP)
    heads = [_cell(columns[at], columns[at].heading, widths[at]) for at in kept]
    lines = [
        Text(
            _GAP.join([*heads, flowing if any(0 < len(text) <= room for text in texts) else ""]).rstrip(), style="bold"
        )
    ]
    for row, texts_of_row, text in zip(rows, cells, texts, strict=True):
        line = _GAP.join(_cell(columns[at], texts_of_row[at], widths[at]) for at in kept)
        beside = len(text) <= room
        lines.append(Text(f"{line}{_GAP}{text if beside else ''}".rstrip(), style=row.style))
        if not beside:
            lines += [Text(" " * _INDENT + part, style=row.style) for part in wrapped(text, width - _INDENT)]
    return lines


def printing() -> Console:
    """Standard output, with a width to lay out for."""
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal and "COLUMNS" not in console._environ:  # noqa: SLF001 - where rich keeps what it reads
        console.width = _UNBOUNDED
    return console


def clean(text: str) -> str:
    """Without what a terminal would obey: a server says of itself what it likes."""
    return "".join(each if each.isprintable() else "?" for each in text)


def wrapped(text: str, width: int) -> list[str]:
    """In lines of at most that width, broken between words where possible."""
    return textwrap.wrap(text, max(20, width), break_on_hyphens=False)


def _kept(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[int]:
    kept = list(range(len(columns)))
    while _total(kept, widths) > width:
        least = max(kept, key=lambda at: columns[at].goes)
        if columns[least].goes == 0:
            break
        kept.remove(least)
    return kept


def _total(kept: Sequence[int], widths: Sequence[int]) -> int:
    return sum(widths[at] for at in kept) + len(_GAP) * (len(kept) - 1)


def _cell(column: Column, text: str, width: int) -> str:
    if len(text) > width:
        end = (width - 1) // 2
        text = f"{text[: width - 1 - end]}…{text[-end:]}"
    return text.rjust(width) if column.right else text.ljust(width)
