"""Roles as an operator meets them: configured by name, asked by other users, changed by a handoff."""

import grp
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.asked import GAPLESS
from tests.harness.builds import ROOT
from tests.harness.output import DEADLINE
from tests.harness.supervisor import Supervisor
from tests.harness.users import User, command, connected, needs_root

ALICE, OPS, OTHERS = 61001, 62002, 62009
NAMED = 1
"""A user that every host has by name, daemon(1), and a group of that number."""

pytestmark = needs_root


@pytest.fixture
def open_to(supervisor: Supervisor) -> Iterator[Supervisor]:
    """One whose control socket is where other users may come."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    folder.chmod(0o755)
    supervisor.control = folder / "control.sock"
    supervisor.configure(control={"socket": str(supervisor.control), "mode": "0666"})
    yield supervisor
    supervisor.close()
    shutil.rmtree(folder)


def said(user: User, supervisor: Supervisor, *words: str) -> tuple[int, str]:
    """A command of theirs: its exit status, and the one line of what went wrong."""
    argv = (*GAPLESS, words[0], "--socket", str(supervisor.control), *words[1:])
    found = subprocess.run(
        command(user, *argv), cwd=ROOT, capture_output=True, text=True, check=False, timeout=DEADLINE
    )
    if "No module named" in found.stderr or "Permission denied" in found.stderr:
        pytest.skip("another user may not read this checkout")
    assert found.stderr.count("\n") == (found.returncode != 0), found.stderr
    return found.returncode, found.stderr


def test_who_may_not_is_told_in_one_line_with_status_4(open_to: Supervisor, v1: Path, v2: Path) -> None:
    open_to.configure(control={"viewers": [str(ALICE)], "operators": [f"@{OPS}"]})
    open_to.start(v1)
    open_to.use(v2)
    alice, ops, stranger = User(ALICE, OTHERS), User(61009, OTHERS, (OPS,)), User(61008, OTHERS)
    assert said(alice, open_to, "status") == (0, "")
    status, line = said(alice, open_to, "upgrade")
    needs = "POST /v1/upgrade takes the role operator"
    assert (status, line) == (4, f"gapless: {needs}, and uid {ALICE} has the role viewer: see [control] operators\n")
    refused = open_to.event("control_refused")
    assert {key: refused[key] for key in ("uid", "role", "needs")} == {
        "uid": ALICE,
        "role": "viewer",
        "needs": "operator",
    }
    assert said(stranger, open_to, "history")[0] == 4
    assert said(ops, open_to, "upgrade") == (0, "")
    assert open_to.get().version == "v2"
    assert open_to.history()[-1]["uid"] == 61009
    assert said(ops, open_to, "stop")[0] == 4
    assert said(User(0, 0), open_to, "stop") == (0, "")
    assert open_to.ended() == 0


def test_roles_are_those_of_the_last_configuration_that_is_valid(open_to: Supervisor, v1: Path, v2: Path) -> None:
    """Whatever comes of the handoff that brought it: neither a bad release nor a rollback brings a right back."""
    open_to.start(v1)
    alice = User(ALICE, OTHERS)
    assert said(alice, open_to, "status")[0] == 4
    open_to.configure(control={"operators": [str(ALICE)]})
    mark = open_to.mark()
    open_to.upgrade(v2)
    assert open_to.event("control_roles", mark)["operators"] == str(ALICE)
    assert said(alice, open_to, "status")[0] == 0
    open_to.configure(control={"operators": [], "admins": [str(ALICE)]}, handoff={"probation": "soon"})
    assert open_to.hup()["result"] == "refused"
    assert said(alice, open_to, "stop")[0] == 4, "a configuration that is refused changes nothing"
    open_to.configure(control={"admins": []}, handoff={"probation": "0s"})
    assert open_to.hup("/nonexistent")["result"] == "refused"
    assert said(alice, open_to, "status")[0] == 4, "it was taken away, whatever became of the release"
    assert said(User(0, 0), open_to, "rollback")[0] == 0
    assert open_to.get().version == "v1"
    assert said(alice, open_to, "status")[0] == 4, "the configuration of then is the release's, and no person's"


def test_mode_and_group_change_with_a_handoff(open_to: Supervisor, v1: Path, v2: Path) -> None:
    open_to.configure(control={"mode": "0600"})
    open_to.start(v1)
    member = User(61009, OTHERS, (OPS,))
    with pytest.raises(PermissionError):
        connected(member, open_to.control)
    open_to.configure(control={"mode": None, "group": str(OPS), "operators": [f"@{OPS}"]})
    open_to.upgrade(v2)
    assert said(member, open_to, "status")[0] == 0
    with pytest.raises(PermissionError):
        connected(User(61009, OTHERS), open_to.control)


def test_it_is_the_process_s_groups_that_count_and_not_what_etc_group_says(
    open_to: Supervisor, v1: Path, tmp_path: Path
) -> None:
    """There a user is a member that logged in before, and its processes are not; and a process is that is no member."""
    if any(each.gr_name == "gapless-ops" for each in grp.getgrall()):
        pytest.skip("this host has a group gapless-ops")
    groups = tmp_path / "group"
    groups.write_text(f"{Path('/etc/group').read_text()}gapless-ops:x:{OPS}:daemon\n")
    open_to.network.prefix = (
        *("unshare", "--mount", "sh", "-c"),
        'mount --make-rprivate / && mount --bind "$0" /etc/group && exec "$@"',
        str(groups),
    )
    open_to.configure(control={"operators": ["@gapless-ops"]})
    open_to.start(v1)
    member = User(NAMED, OTHERS)
    assert said(member, open_to, "status")[0] == 4
    assert said(User(61009, OTHERS, (OPS,)), open_to, "status")[0] == 0
    assert open_to.control.stat().st_mode & 0o777 == 0o666
