"""When a generation counts as ready: it has said so and accepts; or, from servers that say nothing, it accepts.

Where nothing can be accepted (UDP), that one which says nothing has lived for a while is all the evidence there is.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from supervisor.readiness.channel import ClosedWithoutWordError

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.readiness.channel import Channel

SILENCE = 1.0
"""Seconds. A server that accepts and then says nothing for this long is taken to be one that never speaks."""

_LAST_WORD = 0.1
"""Seconds. A dying process closes its pipe a moment before its end is told: the end is the better reason."""


class Accepting(Protocol):
    """What tells whether the generation accepts (`readiness.probe`)."""

    @property
    def possible(self) -> bool:
        """Whether there is anything that it could accept."""

    async def accepted(self) -> None:
        """Wait until it does; quick at first each time it is called."""


class Terms(Struct, frozen=True):
    """What counts as readiness."""

    method: str
    """auto, pipe, notify, einhorn or accept"""
    probe_after_word: bool
    silence_counts: bool


async def ready(channel: Channel, probe: Accepting, terms: Terms, on_word: Callable[[str], None]) -> str:
    """Wait until the generation can serve; tells by what it was known.

    That is how it said so (`pipe`, `notify`, `einhorn`), or else `accept` or `silence`. `on_word` is called when it has
    said so, before its probe is waited for. Raises ClosedWithoutWordError.
    """
    if terms.method == "accept":
        await (probe.accepted() if probe.possible else asyncio.sleep(SILENCE))
        return _without_a_word(probe)
    how = await _word_while_probing(channel, probe, terms)
    if how is None:
        return _without_a_word(probe)
    on_word(how)
    if terms.probe_after_word:
        await probe.accepted()
    return how


def _without_a_word(probe: Accepting) -> str:
    return "accept" if probe.possible else "silence"


async def _word_while_probing(channel: Channel, probe: Accepting, terms: Terms) -> str | None:
    """Its word; None if it accepts and stays silent, where silence counts. The probe is on its way meanwhile."""
    silence_counts = terms.method == "auto" and terms.silence_counts
    word = asyncio.ensure_future(_word(channel, terms.method))
    if not (terms.probe_after_word or silence_counts):
        return await word
    probing = asyncio.ensure_future(probe.accepted())
    try:
        await asyncio.wait({word, probing}, return_when=asyncio.FIRST_COMPLETED)
        if not word.done():
            await asyncio.wait({word}, timeout=SILENCE if silence_counts else None)
        return word.result() if word.done() else None
    finally:
        word.cancel()
        probing.cancel()
        await asyncio.gather(word, probing, return_exceptions=True)


async def _word(channel: Channel, method: str) -> str:
    try:
        return await channel.word(method)
    except ClosedWithoutWordError:
        await asyncio.sleep(_LAST_WORD)
        raise
