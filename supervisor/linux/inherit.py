"""What a process hands to itself across an exec: open file descriptors, and a word on what they are.

The variable that tells of them is taken out of the environment at once: no child of ours is meant by it.
"""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping, Sequence

_VARIABLE = "GAPLESS_INHERITED"

T = TypeVar("T")


class Inherited(Struct, frozen=True):
    """What came from before the exec, or is to go across it, by the numbers of file descriptors."""

    sockets: tuple[tuple[str, int], ...] = ()
    """By name, as a service manager would hand them over."""
    open_files: tuple[int, int] | None = None
    """The limit as it was at the very first start (soft, hard)."""

    @property
    def fds(self) -> tuple[int, ...]:
        """All of the numbers."""
        return tuple(fd for _, fd in self.sockets)


def take(environment: MutableMapping[str, str]) -> Inherited:
    """Take it; all is close-on-exec from now on. What makes no sense is nothing."""
    text = environment.pop(_VARIABLE, "")
    if not text:
        return Inherited()
    try:
        told = json.loads(text)
        limits = told["open_files"]
        found = Inherited(
            tuple((str(name), int(fd)) for name, fd in told["sockets"]),
            None if limits is None else (int(limits[0]), int(limits[1])),
        )
        for fd in found.fds:
            os.set_inheritable(fd, False)  # noqa: FBT003 - it takes no keyword
    except (OSError, ValueError, TypeError, LookupError):
        return Inherited()
    return found


def become(argv: Sequence[str], given: Inherited, environment: Mapping[str, str]) -> NoReturn:
    """Become another program, with what it is given. Raises OSError, with nothing changed. Hold the signals first."""
    told = json.dumps({"sockets": given.sockets, "open_files": given.open_files})
    for fd in given.fds:
        os.set_inheritable(fd, True)  # noqa: FBT003 - it takes no keyword
    try:
        os.execve(argv[0], list(argv), {**environment, _VARIABLE: told})  # noqa: S606 - no shell is wanted
    finally:
        for fd in given.fds:
            os.set_inheritable(fd, False)  # noqa: FBT003 - it takes no keyword


def hold_signals() -> None:
    """Hold every signal back until `heed_signals`, also across an exec.

    To a program that has no handlers yet most would be the end; and what a handler has noted but nobody has acted upon
    is lost with the program that had the handler.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def heed_signals() -> None:
    """Let through what was held back."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


async def in_thread(work: Callable[..., T], *about: Any) -> T:  # noqa: ANN401 - what the work takes
    """Do it in a thread that no signal is delivered to: holding signals back is each thread's own affair.

    A thread has from birth what its maker holds back, and not from its first work on: one of a pool may find that
    another has done what it was made for, and would wait for more with open ears.
    """
    import asyncio  # noqa: PLC0415 - what is taken at the start is taken before it is loaded

    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        done = asyncio.get_running_loop().run_in_executor(None, work, *about)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return await done
