"""systemd/user/gapless@.service under a `systemd --user` of its own, as an ordinary user."""

import json
import shutil
from collections.abc import Generator

import pytest

from tests.systemd.box import UNITS, Box
from tests.systemd.conftest import ROOT, Servers
from tests.systemd.unit import Unit

UID = 4711
HOME = f"/tmp/home-{UID}"  # noqa: S108 - of the box, which has a /tmp of its own
RUNTIME = f"/run/user/{UID}"
WANTED = ("basic.target", "default.target", "exit.target", "paths.target", "shutdown.target", "sockets.target",
          "systemd-exit.service", "timers.target")  # fmt: skip

# As Debian's user@.service has it, without PAM.
MANAGER = f"""\
[Service]
Type=notify
User={UID}
Environment=HOME={HOME} XDG_RUNTIME_DIR={RUNTIME} SYSTEMD_UNIT_PATH={HOME}/units
ExecStart=/lib/systemd/systemd --user
Delegate=pids memory
KillMode=mixed
"""


class Manager:
    """The user's own systemd."""

    def __init__(self, box: Box) -> None:
        self._box = box

    def run(self, *command: str) -> str:
        """Run a command as the user in a session of theirs; it has to succeed."""
        session = [f"HOME={HOME}", f"XDG_RUNTIME_DIR={RUNTIME}"]
        return self._box.succeed(
            "setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "env", *session, *command
        )

    def show(self, name: str, unit: str) -> str:
        return self.run("systemctl", "--user", "show", "--property", name, "--value", unit).strip()


@pytest.fixture
def manager(box: Box) -> Generator[Manager, None, None]:
    with (box.root / "etc/passwd").open("a") as users:
        users.write(f"someone:x:{UID}:{UID}::{HOME}:/bin/sh\n")
    box.succeed("mkdir", "-p", f"{HOME}/units", f"{HOME}/.config/gapless", RUNTIME)
    for source in (*(UNITS.parent / "user" / name for name in WANTED), ROOT / "systemd/user/gapless@.service"):
        shutil.copy(source, box.root / f"tmp/home-{UID}/units")
    box.succeed("chown", "-R", f"{UID}:{UID}", HOME, RUNTIME)
    (box.root / "run/systemd/system/manager.service").write_text(MANAGER)
    box.systemctl("daemon-reload")
    box.systemctl("start", "manager.service")
    yield Manager(box)
    box.systemctl("stop", "manager.service")


def test_an_ordinary_user_starts_reloads_and_stops(manager: Manager, unit: Unit, servers: Servers) -> None:
    unit.configure()
    config = unit.box.root / f"etc/gapless/{unit.name}.toml"
    shutil.move(config, unit.box.root / f"tmp/home-{UID}/.config/gapless")
    unit.release(servers.build("v1"))
    manager.run("systemctl", "--user", "start", unit.unit)
    assert unit.box.get(unit.port) == (200, "v1")
    unit.release(servers.build("v2"))
    manager.run("systemctl", "--user", "reload", unit.unit)
    assert unit.box.get(unit.port) == (200, "v2")
    told = json.loads(manager.run("gapless", "status", "--json", "--service", unit.name))
    assert told["pid"] == int(manager.show("MainPID", unit.unit))
    assert told["cgroup"]["folder"].endswith(f"/manager.service/app.slice/app-gapless.slice/{unit.unit}")
    assert manager.show("StatusText", unit.unit).startswith("serving release v2")
    assert (unit.box.root / f"tmp/home-{UID}/.local/state/gapless/{unit.name}/history.jsonl").exists()
    assert (unit.box.root / f"run/user/{UID}/gapless/{unit.name}/control.sock").is_socket()
    manager.run("systemctl", "--user", "restart", unit.unit)
    again = json.loads(manager.run("gapless", "status", "--json", "--service", unit.name))
    assert again["pid"] != told["pid"]
    assert [each["pid"] for each in again["generations"]] == [each["pid"] for each in told["generations"]][-1:]
    manager.run("systemctl", "--user", "stop", unit.unit)
    assert manager.show("ActiveState", unit.unit) == "inactive"
    assert not (unit.box.root / f"run/user/{UID}/gapless/{unit.name}").exists()
