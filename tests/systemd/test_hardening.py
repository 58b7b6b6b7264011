"""systemd/gapless@.service.d/hardening.conf: how much it holds back, and that everything works all the same."""

import re
import shutil

import pytest

from tests.systemd.conftest import ROOT, Servers, python
from tests.systemd.unit import Load, Unit

DROP_IN = ROOT / "systemd/gapless@.service.d/hardening.conf"
PRIVILEGED = 443

KEEPING = """\
#!/bin/sh
ipcmk --queue --shmem 4096
echo tmp >/tmp/kept
echo var >/var/tmp/kept-too
echo shm >/dev/shm/kept
exec /run/share/servers/v1 "$@"
"""
KEPT = """
cat /tmp/kept /var/tmp/kept-too /dev/shm/kept
ipcs --queues | grep -c 0x
ipcs --shmems | grep -c 0x
touch /tmp/more
"""

TRIAL = """
import pathlib
from supervisor.linux import trials
seccomp = pathlib.Path("/proc/self/status").read_text().partition("Seccomp:")[2].split()[0]
print(f"seccomp {seccomp}, fault {trials.taking_back(orphaned=False)}")
"""


def harden(unit: Unit) -> None:
    """Add the drop-in as an operator does."""
    folder = unit.box.root / f"run/systemd/system/{unit.unit}.d"
    folder.mkdir()
    shutil.copy(DROP_IN, folder)
    unit.box.systemctl("daemon-reload")


@pytest.fixture
def hardened(unit: Unit) -> Unit:
    harden(unit)
    unit.port = PRIVILEGED
    return unit


def test_little_is_exposed(hardened: Unit) -> None:
    told = hardened.box.succeed("systemd-analyze", "security", "--no-pager", hardened.unit)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told)
    assert found is not None, told
    assert float(found[1]) <= 2.0, told
    said = re.search(r"calls the unit with this ([0-9.]+)\.$", DROP_IN.read_text(), re.MULTILINE)
    assert said is not None
    assert said[1] == found[1]


def test_sockets_can_be_copied_out_of_a_living_server(hardened: Unit) -> None:
    """By pidfd_getfd(2), which is in none of systemd's sets of calls."""
    (hardened.box.root / f"run/share/{hardened.name}/trial.py").write_text(TRIAL)
    run = [*python("")[:-2], f"/run/share/{hardened.name}/trial.py"]
    hardened.drop_in("Type=oneshot", "Restart=no", "ExecReload=", "ExecStart=", f"ExecStart={' '.join(run)}")
    hardened.start()
    hardened.said("seccomp 2, fault None")


def test_what_a_server_keeps_outlives_gapless(hardened: Unit, servers: Servers) -> None:
    unit = hardened
    unit.configure()
    server = servers.build("v1")
    keeping = server.with_name("keeping")
    keeping.write_text(KEEPING)
    keeping.chmod(0o755)
    unit.release(keeping)
    unit.start()
    pid = str(unit.happened("generation_started")["event"]["pid"])
    unit.box.systemctl("kill", "--kill-who=main", "--signal=KILL", unit.unit)
    unit.said("Scheduled restart job")
    assert int(pid) in unit.processes()
    inside = unit.box.succeed("nsenter", f"--target={pid}", "--mount", "--ipc", "sh", "-euc", KEPT).split()
    assert inside == ["tmp", "var", "shm", "1", "1"]


def test_an_ordinary_user_serves_on_a_privileged_port(hardened: Unit, servers: Servers) -> None:
    unit = hardened
    unit.configure()
    unit.release(servers.build("v1"))
    unit.start()
    first = unit.happened("generation_started")["event"]["pid"]
    status = (unit.box.root / f"proc/{first}/status").read_text()
    uid = int(re.search(r"^Uid:\s+(\d+)", status, re.MULTILINE)[1])  # type: ignore[index]  # every process has one
    assert uid != 0
    assert re.search(r"^Seccomp:\s+2$", status, re.MULTILINE)
    with Load(servers.load(), unit.box, unit.port) as load:
        unit.release(servers.build("v2"))
        unit.box.systemctl("reload", unit.unit)
        load.answered_by("v2")
        unit.release(servers.build("bad", "-crash-at-start"))
        assert unit.box.run("systemctl", "reload", unit.unit).returncode == 1
        assert unit.history() == ["committed", "rolled back"]
        assert load.end()["failed"] == 0
    unit.box.succeed("gapless", "status", "--service", unit.name)  # by root, who is not that user
    serving = unit.happened("handoff_ended")["event"]["to_generation"]
    pid = next(each for each in unit.processes() if each not in {first, int(unit.show("MainPID"))})
    unit.box.succeed("kill", "-KILL", str(pid))
    assert unit.happened("generation_down")["event"]["generation"] == serving
    unit.happened("generation_ready", generation=serving)
    assert unit.box.get(unit.port) == (200, "v2")
    unit.box.systemctl("stop", unit.unit)
    assert (unit.show("ActiveState"), unit.show("Result")) == ("inactive", "success")
    assert unit.processes() == []
