"""`gapless diff A B`: what differs, of real releases, and what is never printed."""

import json
import shutil
from pathlib import Path

from supervisor.cli_diff import Difference, differences
from tests.cli.asked import failed, gapless
from tests.harness import builds
from tests.harness.supervisor import Supervisor

HIDDEN = "hunter2-and-more"


def test_what_is_not_known_of_one_is_no_difference() -> None:
    before = {"file": {"path": "/a", "size": "1"}, "build": None, "environment": {"A": "1", "B": "2"}}
    after = {"file": {"path": "/a", "size": "2"}, "build": {"go": "1"}, "environment": {"B": "2", "C": "3"}}
    assert list(differences(before, after)) == [
        Difference("file", "size", "1", "2"),
        Difference("environment", "A", "1", None),
        Difference("environment", "C", None, "3"),
    ]


def two_releases(supervisor: Supervisor, folder: Path) -> tuple[str, str]:
    """Ids of two that differ in all that can differ, the second of which serves."""
    ids = []
    for version, environment in (
        ("v1", {"DB_PASSWORD": HIDDEN, "SAME_TOKEN": "x", "GONE": "1"}),
        ("v2", {"DB_PASSWORD": f"{HIDDEN}-2", "SAME_TOKEN": "x", "COLOUR": "red"}),
    ):
        program = folder / version
        shutil.copy(builds.go_server(version, "", "-tags", version), program)
        supervisor.configure(service={"environment": environment})
        ended = supervisor.upgrade(program)
        ids.append(str(ended["to_release"]))
    return ids[0], ids[1]


def test_two_releases(supervisor: Supervisor, tmp_path: Path) -> None:
    old, new = two_releases(supervisor, tmp_path)
    shown = supervisor.command("diff", "v1", "serving")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith(f"{old} → {new}\n")
    assert f"path  {tmp_path / 'v1'} → {tmp_path / 'v2'}" in shown.stdout
    assert "DB_PASSWORD  differs (not shown)" in shown.stdout
    assert "- GONE  1" in shown.stdout
    assert "+ COLOUR  red" in shown.stdout
    assert "SAME_TOKEN" not in shown.stdout
    assert "-tags  v1 → v2" in shown.stdout, "what is inside the files"
    assert HIDDEN not in json.dumps(supervisor.client().call("GET", "/v1/served"))


def test_a_file_that_is_another_by_now_is_told(supervisor: Supervisor, tmp_path: Path) -> None:
    old, _ = two_releases(supervisor, tmp_path)
    (tmp_path / "v1").unlink()  # it may still run, and cannot be written to
    (tmp_path / "v1").write_text("replaced")
    found = json.loads(supervisor.command("diff", old, "serving", "--json").stdout)
    assert found["unknown"] == [f"{old}: {tmp_path / 'v1'} is another file by now, and how it was built is not known"]
    (tmp_path / "v1").unlink()
    assert "cannot be read (No such file or directory)" in supervisor.command("diff", old, "serving").stdout


def test_a_name_that_is_none_is_told_with_those_that_are(supervisor: Supervisor) -> None:
    line = failed(gapless("diff", "v9", "serving", "--socket", str(supervisor.control)), 4)
    assert "v9 is no release that serves or is remembered: there are " in line


def test_one_that_is_the_same_differs_in_nothing(supervisor: Supervisor) -> None:
    shown = supervisor.command("diff", "serving", "serving")
    assert shown.stdout.endswith("no difference in what is known of them\n")
