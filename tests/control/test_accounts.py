"""What is told of who asked: all of it, but for refusals that come faster than anybody could read them."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from supervisor.core.access import Access
from supervisor.daemon_audit import Accounts
from supervisor.linux.peer import Peer
from supervisor.telemetry.audit import NAME, Audit

Told = Callable[[], list[dict[str, Any]]]

ME = Peer(pid=os.getpid(), uid=1001, gid=1002, groups=frozenset((7,)))


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    monkeypatch.setattr(Audit, "_sync", _nothing)
    return lambda: [json.loads(each) for each in (tmp_path / NAME).read_text().splitlines()]


async def _nothing(_: Audit) -> None:
    """There is a thread for it, and no loop here."""


@pytest.fixture
def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Accounts:
    audit = Audit(tmp_path)
    monkeypatch.setattr("asyncio.ensure_future", lambda work: work.close())
    return Accounts(audit)


def test_a_command_is_two_lines_of_one_call(accounts: Accounts, told: Told) -> None:
    with capture_logs() as log:
        call = accounts.asked("upgrade", ME, Access.OPERATOR, {"request": "deploy-7", "wait": True})
        accounts.answered(call, "upgrade", 200, {"request": "deploy-7", "result": "refused", "reason": "x" * 9999})
    asked, answered = told()
    comm = Path("/proc/self/comm").read_text().strip()
    assert {key: value for key, value in asked.items() if key not in {"at", "call", "login"}} == {
        "event": "asked",
        "command": "upgrade",
        "way": "control",
        "role": "operator",
        "uid": 1001,
        "gid": 1002,
        "pid": os.getpid(),
        "process": comm,
        "request": "deploy-7",
    }
    assert (answered["event"], answered["status"], answered["result"]) == ("answered", 200, "refused")
    assert answered["call"] == asked["call"] == call
    assert len(answered["reason"]) == 500
    assert [each["event"] for each in log] == ["control_asked", "control_answered"]


def test_refusals_without_end_fill_no_disk_and_are_counted(
    accounts: Accounts,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]
    clocks = SimpleNamespace(monotonic=lambda: now[0], time=time.time)
    monkeypatch.setattr("supervisor.daemon_audit.time", clocks)
    with capture_logs() as log:
        for _ in range(500):
            accounts.refused("POST /v1/stop", ME, Access.NONE, Access.ADMIN)
        assert len(told()) == len(log) == 60
        accounts.asked("abort", ME, Access.OPERATOR, {})
        assert told()[-1]["event"] == "asked", "what is done is told whatever is refused"
        now[0] += 31
        accounts.refused("GET /v1/status", ME, Access.NONE, Access.VIEWER)
    assert (told()[-1]["command"], told()[-1]["untold"]) == ("GET /v1/status", 440)
    assert "untold" not in told()[0]
