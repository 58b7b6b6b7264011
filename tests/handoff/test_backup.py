"""A host is lost, and all that a service was comes back on an empty one, from a backup that was made while it ran."""

import json
import shutil

import pytest

from supervisor.releases.layout import Layout
from supervisor.releases.seal import destroy
from tests.cli.asked import gapless
from tests.handoff.test_fallback import crash
from tests.harness import builds
from tests.harness.supervisor import Supervisor
from tests.releases.stores import left, offer, put

DAY = 86400


@pytest.fixture
def layout(supervisor: Supervisor) -> Layout:
    """v1, v2 and v3 in a store, of which v1 is current. Whatever fails once after its commit is gone back from."""
    made = Layout(supervisor.folder / "web")
    for name in ("v1", "v2", "v3"):
        put(made, offer(builds.go_server(name), name, name="server"))
    made.current_link.symlink_to("versions/v1")
    command = [f"{made.current_link}/server", "-log-connections", str(supervisor.connections)]
    supervisor.configure(
        service={"command": command, "environment": {"COLOUR": "blue"}},
        releases={"root": str(made.root)},
        rollback={"after": 1},
    )
    return made


def lost(supervisor: Supervisor, layout: Layout) -> None:
    """All that a host had of the service, but for the backup."""
    destroy(layout.root)
    shutil.rmtree(supervisor.folder / "state")
    supervisor.path.unlink()


def test_what_was_comes_back(supervisor: Supervisor, layout: Layout) -> None:
    """v2 is in quarantine, v3 serves, and v1 is what a rollback returns to."""
    file = supervisor.folder / "web.tar.gz"
    supervisor.start()
    assert supervisor.command("upgrade", "v2").returncode == 0
    supervisor.event("handoff_ended", crash(supervisor, 2), handoff=2, result="committed")
    assert supervisor.command("upgrade", "v3").returncode == 0
    written = json.loads(supervisor.command("backup", "--json", str(file)).stdout)
    assert (written["versions"], written["current"], written["absent"]) == (["v1", "v3"], "v3", ["v2"])
    before, held = supervisor.history(), quarantine(supervisor)
    assert [each["result"] for each in before] == ["committed"] * 3
    kept = supervisor.keep_output()
    assert supervisor.stop() == 0
    lost(supervisor, layout)

    restored = gapless("restore", str(file), "--sha256", written["sha256"])
    assert (restored.returncode, restored.stderr) == (0, ""), restored
    assert "not in it: v2, once added from" in restored.stdout
    assert (layout.names(), layout.current(), left(layout)) == (["v1", "v3"], "v3", [])
    mark = supervisor.mark()
    supervisor.spawn(says=kept)
    supervisor.event("generation_ready", mark)
    assert supervisor.get().version == "v3"
    assert supervisor.history() == before
    assert quarantine(supervisor) == held
    assert supervisor.command("rollback").returncode == 0
    assert (supervisor.get().version, layout.current()) == ("v1", "v1")
    assert supervisor.history()[-1]["handoff"] == before[-1]["handoff"] + 1
    put(layout, offer(builds.go_server("v2"), "v2", name="server"))
    refused = supervisor.command("upgrade", "v2")
    assert refused.returncode == 4
    assert "in quarantine" in refused.stderr


def quarantine(supervisor: Supervisor) -> list[tuple[str, str, str, int]]:
    """Of each: id, digest, why, and for how long, in whole minutes since 1970: two clocks are never the same."""
    held = json.loads(supervisor.command("quarantine", "list", "--json").stdout)
    assert [each["id"][:3] for each in held] == ["v2+"]
    assert all(DAY - 2 < each["until"] - each["since"] < DAY + 2 for each in held)
    return [(each["id"], each["sha256"], each["because"], round(each["until"] / 60)) for each in held]


@pytest.mark.usefixtures("layout")
def test_a_backup_in_the_middle_of_a_handoff_is_of_what_has_committed(supervisor: Supervisor) -> None:
    file = supervisor.folder / "web.tar"
    supervisor.configure(handoff={"probation": "20s"})
    supervisor.start()
    mark = supervisor.mark()
    supervisor.client().call("POST", "/v1/upgrade", release="v2")
    supervisor.event("phase", mark, phase="probation")
    written = json.loads(supervisor.command("backup", "--json", str(file)).stdout)
    assert (written["versions"], written["current"]) == (["v1"], "v1")
    refused = gapless("restore", str(file))
    assert refused.returncode == 1
    assert "this host is not empty" in refused.stderr
    assert supervisor.command("abort").returncode == 0
    assert supervisor.get().version == "v1"
