"""Every judgement in both directions, by value: what is found, whether it matters, and that it says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from supervisor import daemon_given
from supervisor.doctor import kernel, needs, network, places, rights
from supervisor.doctor.finding import Finding, Level
from supervisor.doctor.needs import Listening, Needs
from supervisor.doctor.rights import UNLIMITED
from supervisor.linux.host import Place

OK, NOTE, PROBLEM = Level.OK, Level.NOTE, Level.PROBLEM

HTTP = Listening("http", "127.0.0.1", 8080)
LOW = Listening("low", "127.0.0.1", 80, backlog=9000)
V6 = Listening("six", "::1", 40000)
NEEDS = Needs(listeners=(HTTP, LOW))
PLACE = Place(Path("/var/lib/gapless/x"), Path("/var/lib/gapless/x"), writable=True, kind="ext4", free=1 << 30, uid=0)
CGROUP = Path("/sys/fs/cgroup/system.slice/gapless@web.service")


def judged(finding: Finding, level: Level, told: str) -> None:
    assert finding.level is level, finding
    assert told in f"{finding.found} {finding.follows} {finding.do}", finding
    assert finding.check
    assert bool(finding.follows) is (level is not OK), "what is not ok has a consequence"
    if level is PROBLEM:
        assert finding.do, "a problem has something that would do"


@pytest.mark.parametrize(
    ("release", "level", "told"),
    [
        ("6.18.0", OK, "6.18"),
        ("6.15-rc1", OK, "6.15"),
        ("6.14.9-generic", NOTE, "6.15 tells"),
        ("5.14.0", NOTE, "5.14"),
        ("5.13.19", PROBLEM, "5.14 is the least"),
        ("4.20", PROBLEM, "least"),
        ("strange", NOTE, "unknown"),
    ],
)
def test_kernel(release: str, level: Level, told: str) -> None:
    judged(kernel.version(release), level, told)


def test_steering() -> None:
    judged(kernel.steering(None), OK, "each connection")
    judged(kernel.steering("loopback is down"), PROBLEM, "ip link set lo up")
    judged(kernel.steering("Cannot allocate memory"), PROBLEM, "optmem_max")
    judged(kernel.steering("a connection went elsewhere"), PROBLEM, "no handoff")


def test_migration() -> None:
    judged(kernel.migration(1), OK, "moved")
    judged(kernel.migration(0), NOTE, "net.ipv4.tcp_migrate_req=1")
    judged(kernel.migration(None), NOTE, "unknown")


def test_backlog() -> None:
    judged(kernel.backlog(4096, 4096, "http"), OK, "4096")
    judged(kernel.backlog(4095, 4096, "http"), NOTE, "net.core.somaxconn=4096")
    judged(kernel.backlog(None, 4096, "http"), NOTE, "unknown")


def test_program_memory() -> None:
    judged(kernel.program_memory(20480), OK, "20480")
    judged(kernel.program_memory(256), PROBLEM, "sysctl -w")
    judged(kernel.program_memory(None), NOTE, "unknown")


def test_socket_lookup() -> None:
    judged(kernel.socket_lookup(None), OK, "tells")
    judged(kernel.socket_lookup("No such file or directory"), NOTE, "AF_NETLINK")


def test_files() -> None:
    enough, own = NEEDS.files, replace(NEEDS, own_nofile=True)
    judged(rights.files(enough, enough, own), OK, "at the most")
    judged(rights.files(UNLIMITED, UNLIMITED, NEEDS), OK, "unlimited")
    judged(rights.files(100, enough - 1, NEEDS), PROBLEM, f"may take {enough}")
    judged(rights.files(100, enough, own), OK, "the limit is 100")
    judged(rights.files(1024, 4096, NEEDS), NOTE, "inherits")
    judged(rights.files(1024, 4096, own), OK, "1024")
    judged(rights.files(1025, 4096, NEEDS), OK, "1025")


def test_more_listeners_and_longer_drains_need_more_files() -> None:
    assert needs.WINDOW == daemon_given._WINDOW
    one, two = Needs(listeners=(HTTP,)), Needs(listeners=(HTTP, LOW))
    assert Needs().files < one.files < two.files < replace(two, draining=9).files


def test_tasks() -> None:
    judged(rights.tasks(500, 400, 1000), OK, "400 of 500")
    judged(rights.tasks(500, 450, 1000), PROBLEM, "ulimit -u")
    judged(rights.tasks(500, 450, 0), OK, "not limited")
    judged(rights.tasks(UNLIMITED, 450, 1000), OK, "not limited")
    judged(rights.tasks(500, None, 1000), NOTE, "unknown")


def test_taking_back() -> None:
    judged(rights.taking_back(None, None, 1), OK, "out of an orphan")
    judged(rights.taking_back(None, "Operation not permitted", 1), NOTE, "ptrace_scope is 1")
    judged(rights.taking_back(None, "Operation not permitted", None), NOTE, "CAP_SYS_PTRACE")
    judged(rights.taking_back("Function not implemented", "x", 0), NOTE, "SYS_PTRACE")


def test_cgroup() -> None:
    judged(rights.cgroup(CGROUP, None), OK, "may be divided")
    judged(rights.cgroup(CGROUP, f"{CGROUP} has not been given to us"), NOTE, "Delegate=yes")
    judged(rights.cgroup(None, "no cgroup v2"), NOTE, "no cgroup v2")


def test_programs() -> None:
    judged(rights.programs([], limits=True), OK, "/bin/sh")
    judged(rights.programs(["/bin/sh"], limits=False), PROBLEM, "every server")
    judged(rights.programs(["/usr/bin/prlimit"], limits=True), PROBLEM, "util-linux")
    judged(rights.programs(["/usr/bin/prlimit"], limits=False), NOTE, "limits")


def test_memory() -> None:
    judged(rights.memory(200 << 20, {"web": 100 << 20}), OK, "one more generation of web")
    judged(rights.memory(200 << 20, {}), OK, "200 MB")
    judged(rights.memory(90 << 20, {"web": 100 << 20, "small": 1 << 20}), PROBLEM, "web takes 100 MB")
    judged(rights.memory(None, {}), NOTE, "unknown")


def test_python() -> None:
    judged(rights.python((3, 11)), OK, "3.11")
    judged(rights.python((3, 10)), PROBLEM, "3.11 is the least")


def test_state() -> None:
    judged(places.state(PLACE), OK, "ext4")
    judged(places.state(replace(PLACE, kind="tmpfs")), NOTE, "after a reboot")
    judged(places.state(replace(PLACE, kind="nfs4")), NOTE, "network")
    judged(places.state(replace(PLACE, free=1 << 20)), PROBLEM, "1024 kB are free")
    judged(places.state(replace(PLACE, free=None, kind=None)), OK, "/var/lib")
    judged(places.state(replace(PLACE, writable=False)), PROBLEM, "install -d -o 0 /var/lib/gapless/x")
    missing = replace(PLACE, writable=False, existing=Path("/var/lib"))
    judged(places.state(missing), PROBLEM, "is not there, and /var/lib may not be written to")


def test_runtime_and_control() -> None:
    judged(places.runtime(PLACE, 20), OK, "ext4")
    judged(places.runtime(replace(PLACE, kind="tmpfs"), 20), OK, "tmpfs")
    judged(places.runtime(replace(PLACE, writable=False), 20), PROBLEM, "sockets")
    judged(places.runtime(PLACE, 100), PROBLEM, "shorter")
    judged(places.runtime(replace(PLACE, path=Path("/tmp/gapless-9/x")), 20), NOTE, "XDG_RUNTIME_DIR")  # noqa: S108 - looked at, not used
    judged(places.control(PLACE), OK, "ext4")
    judged(places.control(replace(PLACE, writable=False)), PROBLEM, "may not be written")
    judged(places.control(PLACE, Path("/run/user/7")), PROBLEM, "chmod o+x /run/user/7")


def test_clock() -> None:
    judged(places.clock(1_790_000_000.0), OK, "plausible")
    judged(places.clock(3600.0), NOTE, "timedatectl")


@pytest.mark.parametrize(
    ("line", "booted", "unit", "level", "told"),
    [
        ("systemd 255 (255.4)", True, "gapless@web.service", OK, "in gapless@web.service"),
        ("systemd 254 (254.1)", True, None, OK, "in no service"),
        ("systemd 252 (252.39-1~deb12u2)", True, None, NOTE, "FileDescriptorStorePreserve="),
        ("systemd 249 (249.11)", True, None, PROBLEM, "252 is the least"),
        (None, True, None, NOTE, "unknown"),
        ("systemd 255 (255.4)", False, None, NOTE, "not this host's init"),
    ],
)
def test_systemd(line: str | None, booted: bool, unit: str | None, level: Level, told: str) -> None:  # noqa: FBT001 - a row's value
    judged(places.systemd(line, booted=booted, unit=unit), level, told)


def test_store() -> None:
    judged(places.store("512", unit="x.service"), OK, "512")
    judged(places.store(None, unit="x.service"), NOTE, "FileDescriptorStoreMax=")
    judged(places.store("0", unit="x.service"), NOTE, "none")
    judged(places.store(None, unit=None), OK, "of no use")
    assert places.unit_of(CGROUP) == "gapless@web.service"
    assert places.unit_of(CGROUP / "supervisor") == "gapless@web.service"
    assert places.unit_of(Path("/sys/fs/cgroup/user.slice")) is None
    assert places.unit_of(None) is None


def test_privileged() -> None:
    judged(network.privileged([HTTP], 1024, may=False), OK, "from 1024 on")
    judged(network.privileged([HTTP, LOW], 1024, may=False), PROBLEM, "ip_unprivileged_port_start=80")
    judged(network.privileged([LOW], 80, may=False), OK, "from 80 on")
    judged(network.privileged([LOW], 1024, may=True), OK, "any")
    judged(network.privileged([LOW], None, may=None), NOTE, "unknown")


def test_outgoing() -> None:
    judged(network.outgoing([HTTP], (32768, 60999), ()), OK, "32768")
    judged(network.outgoing([HTTP, V6], (32768, 60999), {7}), NOTE, "ip_local_reserved_ports=7,40000")
    judged(network.outgoing([V6], (32768, 60999), {40000}), OK, "apart")
    judged(network.outgoing([V6], None, ()), NOTE, "unknown")


def test_addresses() -> None:
    judged(network.addresses([HTTP, V6], {}), OK, "six [::1]:40000")
    judged(network.addresses([HTTP, V6], {"::1": "no address ::1"}), PROBLEM, "six: no address ::1")


def test_ipv6() -> None:
    judged(network.ipv6([HTTP], there=False, disabled=None), OK, "no listener")
    judged(network.ipv6([V6], there=True, disabled=0), OK, "is on")
    judged(network.ipv6([V6], there=True, disabled=1), NOTE, "disable_ipv6=0")
    judged(network.ipv6([V6], there=False, disabled=None), PROBLEM, "all of IPv4")
