"""Whether a watchdog is asked of this very process, as sd_watchdog_enabled(3) has it."""

import os

import pytest

from supervisor.linux.sdnotify import Systemd


@pytest.mark.parametrize(
    ("microseconds", "away", "seconds"),
    [
        ("3000000", 0, 3.0),
        ("3000000", 1, None),  # another's, of which we are a child
        (None, 0, None),
        ("0", 0, None),
        ("soon", 0, None),
    ],
)
def test_only_ours_is_answered(
    monkeypatch: pytest.MonkeyPatch, microseconds: str | None, away: int, seconds: float | None
) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    if microseconds is not None:
        monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid() + away))
    assert Systemd.watchdog_interval() == seconds


def test_without_a_pid_it_is_meant_for_whoever_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "500000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    assert Systemd.watchdog_interval() == 0.5
