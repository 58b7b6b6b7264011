"""The cgroups of generations, as the unit delegates them: what cannot escape, and that the unit starts again."""

from pathlib import Path

import pytest

from tests.systemd.conftest import Servers
from tests.systemd.test_hardening import harden
from tests.systemd.unit import Unit

HIDING = """\
#!/bin/sh
setsid --fork env -i /bin/sh -c 'trap "" TERM; echo "hidden $$"; exec sleep infinity >/dev/null 2>&1 3>&- 4>&-'
exec /run/share/servers/{server} "$@"
"""


def hiding(servers: Servers, version: str) -> Path:
    """A server that has an orphan with a session of its own, an empty environment, and no ear for TERM."""
    server = servers.build(version)
    script = server.with_name(f"hiding-{version}")
    script.write_text(HIDING.format(server=server.name))
    script.chmod(0o755)
    return script


def orphan(unit: Unit) -> int:
    """The next one's pid in the box."""
    return int(unit.said("hidden ")["MESSAGE"].split()[1])


@pytest.mark.parametrize("hardened", [False, True], ids=["root", "hardened"])
def test_nothing_escapes_a_stop(unit: Unit, servers: Servers, *, hardened: bool) -> None:
    if hardened:
        harden(unit)
    unit.configure()
    unit.release(hiding(servers, "v1"))
    unit.start()
    first = orphan(unit)
    assert unit.cgroup(first).endswith(f"/{unit.unit}/{unit.name}.gen-1.1")
    unit.release(hiding(servers, "v2"))
    unit.box.systemctl("reload", unit.unit)
    second = orphan(unit)
    assert unit.cgroup(second).endswith(f"/{unit.unit}/{unit.name}.gen-2.1")
    unit.wait(lambda: first not in unit.processes(), "the end of the first generation's orphan")
    assert second in unit.processes()
    unit.box.systemctl("stop", unit.unit)
    assert (unit.show("Result"), unit.processes()) == ("success", [])


def test_it_starts_again_after_a_crash_though_a_controller_is_handed_on(unit: Unit, servers: Servers) -> None:
    """Memory's, by gapless itself; or any, where that is an older kind of cgroup's; where there is none, none."""
    unit.drop_in("RestartSec=50ms")
    unit.configure()
    unit.release(hiding(servers, "v1"))
    unit.start()
    server = unit.happened("generation_started")["event"]["pid"]
    left = orphan(unit)
    folder = unit.show("ControlGroup")
    handed_on = unit.box.succeed("sh", "-euc", HAND_ON, "sh", folder, unit.name).strip()
    assert unit.cgroup(int(unit.show("MainPID"))) == folder + (f"/{unit.name}.supervisor" if handed_on else "")
    unit.box.succeed("kill", "-KILL", unit.show("MainPID"), str(server))
    assert str(left) in unit.happened("leftovers_ended")["event"]["pids"]
    unit.happened("generation_ready")
    assert left not in unit.processes()
    unit.box.systemctl("stop", unit.unit)
    assert (unit.show("Result"), unit.processes()) == ("success", [])


HAND_ON = r"""
cd "/sys/fs/cgroup$1"
[ -z "$(cat cgroup.subtree_control)" ] || exec cat cgroup.subtree_control
read -r controller rest </sys/fs/cgroup/cgroup.controllers || exit 0
mkdir "$2.supervisor"
for pid in $(cat cgroup.procs); do echo "$pid" >"$2.supervisor/cgroup.procs"; done
for folder in / "${1%/*/*}" "${1%/*}" "$1"; do
  echo "+$controller" >"/sys/fs/cgroup$folder/cgroup.subtree_control"
done
cat cgroup.subtree_control
"""
