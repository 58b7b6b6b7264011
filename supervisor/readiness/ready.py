"""When a generation counts as ready: it has said so and accepts; or, from servers that say nothing, it accepts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from supervisor.readiness.channel import ClosedWithoutWordError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from supervisor.readiness.channel import Channel

SILENCE = 1.0
"""Seconds. A server that accepts and then says nothing for this long is taken to be one that never speaks."""

_LAST_WORD = 0.1
"""Seconds. A dying process closes its pipe a moment before its end is told: the end is the better reason."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What counts as readiness."""

    method: str
    """auto, pipe, notify or accept"""
    probe_after_word: bool
    silence_counts: bool


async def ready(
    channel: Channel, probe: Callable[[], Awaitable[None]], terms: Terms, on_word: Callable[[str], None]
) -> str:
    """Wait until the generation can serve; tells by what it was known: `pipe`, `notify` or `accept`.

    `on_word` is called when it has said so, before it is probed. Raises ClosedWithoutWordError.
    """
    if terms.method == "accept":
        await probe()
        return "accept"
    if terms.method == "auto" and terms.silence_counts:
        return await _word_or_silence(channel, probe, terms, on_word)
    how = await _word(channel, terms.method)
    on_word(how)
    if terms.probe_after_word:
        await probe()
    return how


async def _word(channel: Channel, method: str) -> str:
    try:
        return await channel.word(method)
    except ClosedWithoutWordError:
        await asyncio.sleep(_LAST_WORD)
        raise


async def _word_or_silence(
    channel: Channel, probe: Callable[[], Awaitable[None]], terms: Terms, on_word: Callable[[str], None]
) -> str:
    """The first generation of a service may be of the silent kind: probe it from the start."""
    word = asyncio.ensure_future(_word(channel, "auto"))
    probing = asyncio.ensure_future(probe())
    try:
        await asyncio.wait({word, probing}, return_when=asyncio.FIRST_COMPLETED)
        if not word.done():
            await asyncio.wait({word}, timeout=SILENCE)
        if not word.done():
            return "accept"
        how = word.result()
        on_word(how)
        if terms.probe_after_word:
            await probing
        return how
    finally:
        for task in (word, probing):
            task.cancel()
        await asyncio.gather(word, probing, return_exceptions=True)
