"""`gapless doctor` on this host, and on hosts that lack something."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.asked import GAPLESS, failed, gapless, on_terminal
from tests.harness.builds import ROOT
from tests.harness.network import Namespace
from tests.harness.output import DEADLINE
from tests.harness.supervisor import Supervisor

ALWAYS = {"kernel", "steering", "tcp_migrate_req", "open files", "state", "runtime folder", "taking sockets back"}


def configured(folder: Path, *addresses: str, more: str = "") -> Path:
    path = folder / "c.toml"
    listen = "".join(f'[[listen]]\naddress = "{each}"\n' for each in addresses)
    state = f'state_dir = "{folder / "state"}"\n'
    path.write_text(f'[service]\nname = "x"\ncommand = ["/bin/true"]\n{state}{listen}{more}')
    return path


def examined(
    *words: str | Path, before: tuple[str, ...] = (), env: Mapping[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """Exit status, and the findings by what was looked at."""
    found = subprocess.run(
        [*before, *GAPLESS, "doctor", "--json", *words],
        cwd=ROOT,
        env=os.environ | dict(env or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    if "--reuid" in before and ("Permission denied" in found.stderr or "No module named" in found.stderr):
        pytest.skip("another user may not read this checkout")
    assert found.stderr == ""
    findings = {each["check"]: each for each in json.loads(found.stdout)}
    assert found.returncode == int(any(each["level"] == "problem" for each in findings.values()))
    return found.returncode, findings


def test_without_a_configuration() -> None:
    _, found = examined()
    assert found.keys() >= ALWAYS
    for name in ("kernel", "steering", "python", "addresses", "clock"):
        assert found[name]["level"] in {"ok", "note"}, found[name]
    assert set(found["kernel"]) == {"check", "level", "found", "follows", "do"}


def test_for_people_it_fits_and_says_what_to_do(tmp_path: Path) -> None:
    path = configured(tmp_path, "192.0.2.1:8080")
    status, written = on_terminal("doctor", str(path), columns=90)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", written).splitlines()
    assert status == 1
    assert any(line.startswith("problem  addresses ") for line in lines)
    assert max(len(line) for line in lines if "do: " not in line) <= 90
    assert re.match(r"\d+ problems?, \d+ notes?, \d+ as they should be$", lines[-1])
    assert "this host has no address 192.0.2.1" in gapless("doctor", str(path)).stdout


def test_it_makes_nothing(tmp_path: Path) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
    examined(configured(tmp_path, "127.0.0.1:0"), env=environment)
    assert [each.name for each in tmp_path.iterdir()] == ["c.toml"]


def test_more_files_than_the_limit_allows(tmp_path: Path) -> None:
    path = configured(tmp_path, *(f"127.0.0.1:{port}" for port in range(20001, 20031)))
    status, found = examined(path, before=("sh", "-c", 'ulimit -n 250; exec "$@"', "sh"))
    assert (status, found["open files"]["level"]) == (1, "problem")
    assert "LimitNOFILE" in found["open files"]["do"]
    assert "30 listeners" in found["open files"]["found"]


def test_a_limit_of_its_own_is_enough_for_the_server(tmp_path: Path) -> None:
    low = ("sh", "-c", 'ulimit -n 1024; exec "$@"', "sh")
    assert examined(configured(tmp_path, "127.0.0.1:0"), before=low)[1]["open files"]["level"] == "note"
    more = "[service.limits]\nnofile = 65536\n"
    assert examined(configured(tmp_path, "127.0.0.1:0", more=more), before=low)[1]["open files"]["level"] == "ok"


def test_ports_of_outgoing_connections(tmp_path: Path) -> None:
    first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    _, found = examined(configured(tmp_path, f"127.0.0.1:{last}"))
    assert found["outgoing ports"]["level"] in {"note", "ok"}
    assert f"{first} to {last}" in found["outgoing ports"]["found"]


def test_a_network_with_nothing_in_it(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("a network of the test's own takes root")
    status, found = examined(configured(tmp_path, "127.0.0.1:80"), before=("unshare", "--net", "--"))
    assert (status, found["steering"]["do"]) == (1, "ip link set lo up")
    assert found["tcp_migrate_req"]["level"] == "note"


@pytest.mark.parametrize("migrate", [False, True])
def test_migration_is_of_the_network_that_it_is_asked_in(migrate: bool) -> None:  # noqa: FBT001 - a row's value
    if os.geteuid() != 0:
        pytest.skip("a network of the test's own takes root")
    network = Namespace(migrate=migrate)
    _, found = examined(before=network.prefix)
    network.close()
    assert found["tcp_migrate_req"]["level"] == ("ok" if migrate else "note")
    assert found["steering"]["level"] == "ok"


def test_a_low_port_and_places_that_are_not_its_own(tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("becoming another user takes root and setpriv (util-linux)")
    path = configured(tmp_path, "127.0.0.1:1")
    nobody = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all", "--")
    path.chmod(0o644)
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(0o711)
    status, found = examined(path, before=nobody)
    levels = {name: found[name]["level"] for name in ("state", "low ports", "steering", "kernel")}
    assert status == 1
    assert levels["state"] == levels["low ports"] == "problem"
    assert levels["steering"] == "ok"
    assert "CAP_NET_BIND_SERVICE" in found["low ports"]["found"]


def test_a_host_without_proc_is_unknown_and_no_traceback() -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    emptied = ("unshare", "--mount", "--", "sh", "-c", 'mount -t tmpfs x /proc && exec "$@"', "sh")
    _, found = examined(before=emptied)
    for name in ("tcp_migrate_req", "somaxconn", "optmem_max", "low ports", "outgoing ports", "memory"):
        assert found[name]["found"].startswith("unknown: "), found[name]


def test_memory_is_told_of_who_runs(supervisor: Supervisor) -> None:
    _, found = examined(supervisor.path)
    assert f"enough for one more generation of {supervisor.name}" in found["memory"]["found"]


def test_wrong_usage(tmp_path: Path) -> None:
    assert "leave --socket and --service out" in failed(gapless("doctor", "--service", "x"), 2)
    assert "No such file" in failed(gapless("doctor", str(tmp_path / "none.toml")), 1)
