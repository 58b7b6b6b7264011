"""What a request may say of itself: on which release it builds, and that it is the same as one before."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

from tests.harness import builds
from tests.harness.supervisor import Supervisor


def test_an_upgrade_of_what_is_not_current_is_refused(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.start(v1)
    supervisor.use(v2)
    refused = supervisor.command("upgrade", "--if-current", "another")
    assert refused.returncode == 4
    current = supervisor.serving()["release"]["id"]
    assert refused.stderr == f"refused: not the current release: {current} is, and not another\n"
    assert not supervisor.events("handoff_began")
    assert supervisor.command("upgrade", "--if-current", current).returncode == 0
    assert supervisor.get().version == "v2"
    assert supervisor.command("rollback", "--if-current", current).returncode == 4
    serving = supervisor.serving()["release"]
    assert supervisor.command("rollback", "--if-current", serving["id"].partition("+")[0]).returncode == 0
    assert supervisor.get().version == "v1"


def test_a_release_is_known_by_its_digest(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.start(v1)
    supervisor.use(v2)
    digest = supervisor.digest()
    assert supervisor.command("upgrade", "--if-current", digest[:7]).returncode == 4
    assert supervisor.command("upgrade", "--if-current", digest[:8].upper()).returncode == 0


def test_its_file_is_read_with_pauses(supervisor: Supervisor, v1: Path, tmp_path: Path) -> None:
    """Or clients would feel it. 256 pauses are 1.28 s alone, and all of it at one go takes 0.06 s."""
    large = Path(shutil.copy(v1, tmp_path / "large"))
    os.truncate(large, 256 * 256 * 1024)
    began = time.monotonic()
    supervisor.start(large)
    supervisor.digest()
    assert time.monotonic() - began > 256 * 0.005


def test_it_counts_when_the_request_is_taken_up(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.configure(handoff={"probation": "300ms"})
    supervisor.start(v1)
    supervisor.use(v2)
    current = supervisor.serving()["release"]["id"]
    mark = supervisor.signal(signal.SIGHUP)
    supervisor.event("handoff_began", mark)
    kept = supervisor.command("upgrade", "--if-current", current, "--json")
    assert kept.returncode == 4
    assert json.loads(kept.stdout)["reason"].startswith("not the current release: ")


def test_a_request_that_is_repeated_is_one_handoff(supervisor: Supervisor, v1: Path, v2: Path) -> None:
    supervisor.configure(handoff={"probation": "500ms"})
    supervisor.start(v1)
    supervisor.use(v2)
    client = supervisor.client()
    assert client.call("POST", "/v1/upgrade", request="deploy-7") == {"request": "deploy-7"}
    joined = client.call("POST", "/v1/upgrade", request="deploy-7", wait=True)
    assert (joined["result"], joined["to_generation"]) == ("done", 2)
    assert client.call("POST", "/v1/upgrade", request="deploy-7") == joined
    again = supervisor.command("upgrade", "--request-id", "deploy-7")
    assert (again.returncode, "generation 2 serves" in again.stdout) == (0, True)
    assert len(supervisor.events("handoff_began")) == 1
    other = supervisor.command("rollback", "--request-id", "deploy-7")
    assert other.returncode == 4
    assert "request deploy-7 was for another thing (upgrade): give a new id" in other.stderr
    assert [each["request"] for each in supervisor.history()] == ["deploy-7"]


def test_it_is_remembered_by_the_next_supervisor(supervisor: Supervisor, v1: Path) -> None:
    supervisor.start(v1)
    supervisor.use(builds.go_server("v3", "-crash-at-start"))
    first = supervisor.client().call("POST", "/v1/upgrade", request="deploy-8", wait=True)
    assert first["result"] == "rolled back"
    assert supervisor.stop() == 0
    supervisor.output.close()
    supervisor.start(v1)
    assert supervisor.client().call("POST", "/v1/upgrade", request="deploy-8", wait=True) == first
    assert not supervisor.events("handoff_began")


def test_handoffs_are_counted_on_by_the_next_supervisor(supervisor: Supervisor, v1: Path) -> None:
    supervisor.start(v1)
    supervisor.upgrade()
    assert supervisor.stop() == 0
    supervisor.output.close()
    supervisor.start(v1)
    assert supervisor.upgrade()["handoff"] == 2
    assert [entry["handoff"] for entry in supervisor.history()] == [1, 2]


def test_an_id_that_cannot_be_is_refused(supervisor: Supervisor, v1: Path) -> None:
    supervisor.start(v1)
    for wrong in ("", "a/b", "x" * 65):
        refused = supervisor.command("upgrade", "--request-id", wrong)
        assert refused.returncode == 4
        assert "request is to be 1 to 64" in refused.stderr
