"""The diagrams of docs/handoff.md, drawn from the tables themselves. scripts/draw-handoff sets them in place."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor.core import handoff
from supervisor.core.model import Phase
from tests.core.explore import explore
from tests.core.starts import STARTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from supervisor.core.events import Event
    from supervisor.core.model import Life
    from tests.core.world import World

PAGE = Path(__file__).resolve().parents[2] / "docs" / "handoff.md"
OUTSIDE = "[*]"
DEEP_ENOUGH = 5
"""Events from every start, after which no new change of life is met."""

Arrow = tuple[str, str]


def handoff_diagram() -> str:
    """Every phase, and which cue leads where."""
    arrows: dict[Arrow, list[str]] = {}
    for phase, row in handoff.TABLE.items():
        for cue, move in row.items():
            for leads_to in move.leads_to if move is not None else ():
                arrows.setdefault((phase, OUTSIDE if leads_to == handoff.END else leads_to), []).append(cue)
    return _mermaid([(OUTSIDE, Phase.VERIFY)], arrows)


@functools.cache
def life_diagram() -> str:
    """Every change of life that an exploration meets, and the events that brought it about."""
    arrows: dict[Arrow, list[str]] = {}

    def note(before: World, event: Event, after: World) -> None:
        lives = {each.number: each.life for each in before.state.generations}
        for each in after.state.generations:
            old = lives.pop(each.number, None)
            if old is not None and old is not each.life:
                _add(arrows, (old, each.life), event)
        for gone in lives.values():
            _add(arrows, (gone, OUTSIDE), event)

    for start in STARTS:
        explore(start.world(), depth=DEEP_ENOUGH, bounds=start.bounds, judge=note)
    return _mermaid([(OUTSIDE, "spawning")], {arrow: arrows[arrow] for arrow in sorted(arrows)})


def _add(arrows: dict[Arrow, list[str]], arrow: tuple[Life, str], event: Event) -> None:
    name = re.sub(r"(?<!^)([A-Z])", r" \1", type(event).__name__).lower().removesuffix(" asked")
    shown = {"generation lapsed": "deadline", "handoff lapsed": "handoff's deadline"}.get(name, name)
    names = arrows.setdefault((str(arrow[0]), str(arrow[1])), [])
    if shown not in names:
        names.append(shown)
        names.sort()


def _mermaid(first: Iterable[Arrow], arrows: dict[Arrow, list[str]]) -> str:
    lines = [f"    {a} --> {b}" for a, b in first]
    lines += [f"    {a} --> {b}: {', '.join(why)}" for (a, b), why in arrows.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


DRAWN: dict[str, Callable[[], str]] = {"handoff": handoff_diagram, "life": life_diagram}


def with_diagrams(page: str) -> str:
    """The page, with what stands between each pair of markers drawn anew."""
    for name, drawn in DRAWN.items():
        begin, end = f"<!-- drawn: {name} -->", f"<!-- end: {name} -->"
        before, rest = page.split(begin)
        _, after = rest.split(end)
        page = f"{before}{begin}\n{drawn()}\n{end}{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(with_diagrams(PAGE.read_text()))
