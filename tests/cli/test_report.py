"""`gapless history NUMBER`: the report of one handoff, for people and for machines."""

import json
import re

import pytest

from supervisor.cli_ask import _tell_end
from tests.cli.asked import failed, gapless, on_terminal
from tests.harness import builds
from tests.harness.supervisor import Supervisor

OLD = {
    "handoff": 7,
    "ended": 1795573209.6,
    "ask": "upgrade",
    "way": "SIGHUP",
    "uid": None,
    "pid": None,
    "result": "rolled back",
    "reason": "not ready in time",
    "from": {"generation": 1, "release": "a+1"},
    "to": {"generation": 2, "release": None},
    "ready_to_steered": None,
    "phases": {"verify": 0.1},
}
"""As versions before the first report wrote them."""


def test_a_report_is_a_page(supervisor: Supervisor) -> None:
    assert supervisor.command("upgrade").returncode == 0
    supervisor.event("generation_ended", generation=1)
    shown = supervisor.command("history", "1")
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = [re.sub(" {2,}", "  ", line) for line in shown.stdout.splitlines()]
    assert re.fullmatch(r"handoff 1  committed after [0-9.]+ s", lines[0])
    assert lines[1].startswith("from  generation 1, ")
    assert lines[2].startswith("to  generation 2, ")
    assert any(re.match(r"phases  verify [0-9.]+ s, start .*probation ", line) for line in lines)
    assert "stragglers  none" in lines
    assert any(re.match(r"drain  generation 1 took [0-9.]+ s: exit status 0", line) for line in lines)
    assert any(
        line.startswith("kernel  ") and line.endswith("(of all services in this network namespace)") for line in lines
    )
    assert any(re.match(rf"http  {re.escape(supervisor.address)}  0 s  0", line) for line in lines)
    assert re.match(r"queues were looked at \d+ times, at most [0-9.]+ s apart", lines[-1])


@pytest.mark.parametrize("columns", [60, 100])
def test_a_page_fits_the_terminal(supervisor: Supervisor, columns: int) -> None:
    assert supervisor.command("upgrade").returncode == 0
    status, written = on_terminal("history", "1", "--socket", str(supervisor.control), columns=columns)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", written).splitlines()
    assert status == 0
    assert max(map(len, lines)) <= columns, lines


def test_for_machines_it_is_the_whole_entry(supervisor: Supervisor) -> None:
    assert supervisor.command("upgrade").returncode == 0
    found = json.loads(supervisor.command("history", "1", "--json").stdout)
    assert found == supervisor.history()[0]
    assert {"listeners", "kernel", "stragglers", "deaths", "restarts", "drain", "asked_by"} <= found["report"].keys()


def test_one_that_is_not_there_is_4(supervisor: Supervisor) -> None:
    assert "handoff 3 is not in the history: none has ended yet" in failed(supervisor.command("history", "3"), 4)
    assert supervisor.command("upgrade").returncode == 0
    assert "there are 1 to 1" in failed(supervisor.command("history", "3"), 4)
    assert "invalid int value" in failed(gapless("history", "last"), 2)


def test_an_entry_without_a_report_is_shown_without(supervisor: Supervisor) -> None:
    (supervisor.folder / "state" / "history.jsonl").write_text(json.dumps(OLD) + "\n")
    shown = supervisor.command("history", "7")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "asked       upgrade by SIGHUP" in shown.stdout
    assert "none: this handoff was recorded by an older gapless" in shown.stdout
    assert "a+1" in supervisor.command("history").stdout


def test_who_died_meanwhile_is_on_it(supervisor: Supervisor) -> None:
    supervisor.use(builds.go_server("v3", "-crash-at-start"))
    assert supervisor.command("upgrade").returncode == 3
    shown = supervisor.command("history", "1").stdout
    assert re.search(r"^died +generation 2 after [0-9.]+ s: exit status 3$", shown, re.MULTILINE)


def test_what_others_have_lost_is_worth_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    done = {"result": "done", "handoff": 5, "to_generation": 2, "to_release": "b", "seconds": 1.0}
    _tell_end(done | {"longest_wait": 0.01, "queue_reset": 0, "listen_overflows": 0})
    assert "note" not in capsys.readouterr().out
    _tell_end(done | {"longest_wait": 0.5, "queue_reset": 3, "listen_overflows": 4})
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == (
        "note: clients waited up to 0.50 s for an accept, 3 in a dead generation's queue were reset, "
        "the kernel found a full queue 4 times (gapless history 5)"
    )
