"""What a kernel lets us do, tried on the real one: where it works, and where it is made not to."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.linux import host, trials
from tests.harness.builds import ROOT
from tests.harness.output import DEADLINE
from tests.harness.proc import bearing

AS_NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--")


def apart(code: str, *before: str, env: dict[str, str] | None = None) -> str:
    """What a process of its own says, which may do itself any harm."""
    found = subprocess.run(
        [*before, sys.executable, "-c", f"from supervisor.linux import host, trials\n{code}"],
        cwd=ROOT,
        env=os.environ | (env or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    if before and ("Permission denied" in found.stderr or "No module named" in found.stderr):
        pytest.skip("another user may not read this checkout")
    assert (found.returncode, found.stderr) == (0, "")
    return found.stdout.strip()


def test_here_everything_works() -> None:
    assert trials.steering() is None
    assert trials.socket_lookup() is None
    assert trials.bindable("127.0.0.1") is None
    assert trials.taking_back(orphaned=False) is None


def test_an_address_that_is_not_ours_is_told_without_a_port() -> None:
    assert trials.bindable("192.0.2.1") == "192.0.2.1 cannot be bound: this host has no address 192.0.2.1"


def test_a_network_that_is_down_is_told() -> None:
    if os.geteuid() != 0:
        pytest.skip("a network of the test's own takes root")
    assert apart("print(trials.steering())", "unshare", "--net", "--") == "loopback is down"


def test_a_kernel_without_memory_for_programs_is_told() -> None:
    if os.geteuid() != 0:
        pytest.skip("a network of the test's own takes root")
    code = (
        "import pathlib, subprocess\n"
        "pathlib.Path('/proc/sys/net/core/optmem_max').write_text('64')\n"
        "print(host.number('net.core.optmem_max'), trials.steering())"
    )
    own = ["unshare", "--net", "--", "test", "-e", "/proc/sys/net/core/optmem_max"]
    if subprocess.run(own, check=False).returncode != 0:
        pytest.skip("net.core.optmem_max of a network of its own takes Linux 6.8")
    told = apart(code, "unshare", "--net", "--")
    assert told.startswith("64 ")
    assert "Cannot allocate memory" in told


def test_no_file_descriptor_to_be_had_is_an_answer() -> None:
    code = (
        "import resource, os\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir('/proc/self/fd')) - 1, 99))\n"
        "print(*[each() for each in (trials.steering, trials.socket_lookup)], sep='; ')\n"
        "print(trials.taking_back(orphaned=True))"
    )
    assert apart(code).count("file") == 3


def test_an_orphan_is_left_to_nobody() -> None:
    code = "print(trials.taking_back(orphaned=True), trials.taking_back(orphaned=False))"
    apart(code, env={"GAPLESS_SERVICE": "trial"})
    assert bearing("GAPLESS_SERVICE", "trial") == []


def test_the_host_is_read_as_it_is() -> None:
    assert host.limit(resource.RLIMIT_NOFILE) == resource.getrlimit(resource.RLIMIT_NOFILE)
    assert host.number("net.core.somaxconn") == int(Path("/proc/sys/net/core/somaxconn").read_text())
    assert host.number("net.core.no_such_thing") is None
    assert host.sysctl("no.such.thing") is None
    assert (host.tasks_of(os.geteuid()) or 0) > 0
    assert (host.memory_available() or 0) > 1 << 20
    assert host.capable(10) is (os.geteuid() == 0) or os.geteuid() == 0
    assert host.file_system(Path("/proc/self")) == "proc"


def test_a_place_is_looked_at_and_not_made(tmp_path: Path) -> None:
    found = host.place(tmp_path / "a" / "b")
    assert (found.existing, found.writable, found.uid) == (tmp_path, True, os.geteuid())
    assert found.kind == host.file_system(tmp_path.resolve())
    assert list(tmp_path.iterdir()) == []
    file = tmp_path / "file"
    file.touch()
    assert not host.place(file / "below").writable


def test_a_tmpfs_is_known_by_its_mount() -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    code = (
        "import subprocess, pathlib\nsubprocess.run(['mount', '-t', 'tmpfs', 'x', '/mnt'], check=True)\n"
        "print(host.place(pathlib.Path('/mnt/gapless')).kind)"
    )
    assert apart(code, "unshare", "--mount", "--") == "tmpfs"


def test_without_proc_everything_is_unknown() -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    code = (
        "import subprocess, pathlib\nsubprocess.run(['mount', '-t', 'tmpfs', 'x', '/proc'], check=True)\n"
        "print(host.number('net.core.somaxconn'), host.capable(10), host.tasks_of(0), host.memory_available(),"
        " host.cgroup(), host.mounts(), host.port_range(), host.file_system(pathlib.Path('/')), host.reserved_ports())"
    )
    assert apart(code, "unshare", "--mount", "--") == "None None 0 None None [] None None frozenset()"
