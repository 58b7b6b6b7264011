"""How a process ended, as far as anybody knows."""

from __future__ import annotations

from msgspec import Struct


class Exit(Struct, frozen=True):
    """How a process ended: a status, a signal, or neither where the kernel no longer knows."""

    status: int | None = None
    signal: int | None = None
    signal_name: str = ""
    exec_failed: bool = False
    """The process never became the server: the exec itself was refused."""

    def __str__(self) -> str:
        if self.signal is not None:
            return f"killed by {self.signal_name or f'signal {self.signal}'}"
        if self.status is not None:
            return f"exit status {self.status}"
        return "exit status unknown"
