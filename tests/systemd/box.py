"""A box: a real systemd that believes this to be its machine, in namespaces of its own.

Its files are the host's: /etc, /tmp, /usr/local and /var through overlays, the rest of the root file system read-only.
Its /run, processes, network, cgroups and /dev are its own, and it has only the units that it needs. Nothing is left of
it when it is closed. If the tests are killed instead, all its processes and mounts go with them.
"""

import ctypes
import http.client
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Self

SYSTEMD = Path("/lib/systemd/systemd")
UNITS = Path("/lib/systemd/system")
WANTED = (
    "basic.target",
    "multi-user.target",
    "shutdown.target",
    "sockets.target",
    "sysinit.target",
    "systemd-journald.service",
    "systemd-journald.socket",
    "systemd-journald-dev-log.socket",
)
CLONE_NEWNET = 0x40000000
BOOT = 30.0
CONTROLLERS = "memory hugetlb"
"""Handed on to the box if they can be had: these change nothing for who has no limit."""

# $1: the folder of the host that the box has as /run/share. $2: the name of its cgroup.
INIT = r"""
set -eu
mount --make-rprivate /

mount -t tmpfs -o mode=0755 run /run
mkdir /run/share /run/layers
mount --bind "$1" /run/share
for folder in etc tmp usr/local var; do
  layer=/run/layers/$folder
  mkdir -p "$layer/upper" "$layer/work"
  chmod --reference="/$folder" "$layer/upper"
  mount -t overlay -o "lowerdir=/$folder,upperdir=$layer/upper,workdir=$layer/work" box "/$folder"
done

mkdir /run/dev
for device in full null random tty urandom zero; do
  : >"/run/dev/$device"
  mount --bind "/dev/$device" "/run/dev/$device"
done
ln -s /proc/self/fd /run/dev/fd
ln -s pts/ptmx /run/dev/ptmx
mkdir /run/dev/shm
mount --rbind /run/dev /dev

mount -t proc proc /proc
mount --bind -o ro /proc/sys /proc/sys
mount -t sysfs -o ro sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
above=$(sed -n 's/^0:://p' /proc/self/cgroup)
mkdir "/sys/fs/cgroup$above/$2"
cd "/sys/fs/cgroup$above"
for each in $CONTROLLERS; do
  if grep -qw "$each" cgroup.controllers && ! grep -qw "$each" cgroup.subtree_control &&
    (echo "+$each" >cgroup.subtree_control) 2>/dev/null
  then echo "$each" >>/run/share/handed-on; fi
done
cd /
echo 1 >"/sys/fs/cgroup$above/$2/cgroup.procs"
mount -o remount,bind,ro /

mkdir -p /run/systemd/system /run/systemd/journald.conf.d
for unit in $WANTED; do cp "$UNITS/$unit" /run/systemd/system/; done
printf '[Unit]\nWants=basic.target systemd-journald.service\n' >/run/systemd/system/default.target
printf '[Journal]\nAudit=no\nReadKMsg=no\nStorage=volatile\nRateLimitBurst=0\n' >/run/systemd/journald.conf.d/box.conf
# A cgroup namespace has the cgroup of its first process for a root, so this one is entered last.
exec unshare --cgroup sh -euc '
  umount /sys/fs/cgroup
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin container=box \
    NOTIFY_SOCKET=/run/share/booted SYSTEMD_UNIT_PATH=/run/systemd/system SYSTEMD_GENERATOR_PATH=/run/none \
    "$0" --system --log-target=journal --show-status=0
' "$SYSTEMD"
"""

# The cgroups of a box, which outlive its processes. It may be that the host has no cgroup2 mounted: so, one of ours.
CLEAR = r"""
mount --make-rprivate /
umount --recursive /sys/fs/cgroup 2>/dev/null || true  # the same cannot be mounted twice in one place
mount -t cgroup2 cgroup2 /sys/fs/cgroup
folder=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/$1
[ ! -d "$folder" ] || find "$folder" -depth -type d -exec rmdir {} +
[ ! -e "$2/handed-on" ] || while read -r each; do
  (echo "-$each" >"${folder%/*}/cgroup.subtree_control") 2>/dev/null || true  # another box may have come to use it
done <"$2/handed-on"
"""


def obstacle() -> str | None:
    """Why there can be no box here; None if there can."""
    if os.geteuid() != 0:
        return "a systemd in namespaces of its own needs root"
    if not SYSTEMD.exists():
        return f"there is no {SYSTEMD}: apt-get install systemd"
    tried = subprocess.run(["unshare", "--mount", "--pid", "--net", "--fork", "true"], capture_output=True, check=False)
    if tried.returncode != 0:
        return f"root may not make namespaces here: {tried.stderr.decode().strip()}"
    return None


class Box:
    """A running systemd. `share` is a folder of the host that it has as /run/share."""

    def __init__(self, share: Path) -> None:
        self._share = share
        self._cgroup = f"gapless-box-{secrets.token_hex(4)}"
        self._log = (share / "console.log").open("wb")
        booted = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        booted.bind(str(share / "booted"))
        environment = {**os.environ, "SYSTEMD": str(SYSTEMD), "UNITS": str(UNITS), "WANTED": " ".join(WANTED)}
        environment["CONTROLLERS"] = CONTROLLERS
        # If the tests are killed, the kernel ends unshare, then systemd, then all that is in its pid namespace.
        # fmt: off
        self._unshare = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL",
             "unshare", "--kill-child", "--fork", "--pid", "--mount", "--uts", "--ipc", "--net",
             "sh", "-c", INIT, "sh", str(share), self._cgroup],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, env=environment,
        )
        # fmt: on
        try:
            with booted:
                self._await_boot(booted)
        except BaseException:
            self._end()
            raise
        self._clients = ThreadPoolExecutor(1, "client", _enter_network, (Path(f"/proc/{self.pid}/ns/net"),))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._clients.shutdown(wait=True)
        self._end()

    @property
    def root(self) -> Path:
        """Its file system, as the host can open it."""
        return Path(f"/proc/{self.pid}/root")

    @property
    def journal(self) -> Path:
        """The folder of its journal, as the host can open it."""
        return self.root / "run/log/journal"

    def on_host(self, pid: int) -> int:
        """The pid that one of its processes has on the host."""
        inside = (Path("/proc") / str(self.pid) / "ns/pid").readlink()
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdecimal() and (entry / "ns/pid").readlink() == inside:
                    lines = (entry / "status").read_text().splitlines()
                    (numbers,) = (line.split()[1:] for line in lines if line.startswith("NSpid:"))
                    if int(numbers[-1]) == pid:
                        return int(entry.name)
        raise ProcessLookupError(pid)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside, whatever its exit status."""
        enter = ["nsenter", "-t", str(self.pid), "--pid", "--mount", "--uts", "--ipc", "--net", "--cgroup", "--"]
        return subprocess.run([*enter, *command], capture_output=True, text=True, check=False, timeout=40)

    def succeed(self, *command: str) -> str:
        """Run a command inside that has to succeed; what it printed."""
        done = self.run(*command)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def systemctl(self, *arguments: str) -> str:
        """Run systemctl, which has to succeed."""
        return self.succeed("systemctl", "--no-pager", *arguments)

    def on_network(self, *command: str) -> list[str]:
        """A command of the host as it is run in the box's network. The process started is the command's own."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--", *command]

    def ask(self, port: int, path: str) -> http.client.HTTPConnection:
        """Send a request to a server inside, and leave the answer to the caller."""
        return self._clients.submit(_ask, port, path).result()

    def get(self, port: int, path: str = "/") -> tuple[int, str]:
        """Ask a server inside: status and version."""
        with closing(self.ask(port, path)) as connection:
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.headers.get("X-Version", "")

    def _await_boot(self, booted: socket.socket) -> None:
        ended = os.pidfd_open(self._unshare.pid)
        until = time.monotonic() + BOOT
        said = ""
        try:
            while "READY=1" not in said:
                ready, _, _ = select.select([booted.fileno(), ended], [], [], max(0.0, until - time.monotonic()))
                if booted.fileno() not in ready:
                    what = "ended" if ready else f"did not boot within {BOOT} s"
                    raise RuntimeError(f"systemd {what}: {(self._share / 'console.log').read_text()}")
                said = booted.recv(8192).decode()
        finally:
            os.close(ended)
        self.pid = self._first()

    def _first(self) -> int:
        """The pid that the box's first process has on the host."""
        return int(Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text())

    def _end(self) -> None:
        """Kill the first process: the kernel then kills all others, and unshare ends when they are gone."""
        if self._unshare.poll() is None:
            try:
                os.kill(self._first(), signal.SIGKILL)
            except (ValueError, ProcessLookupError):
                self._unshare.kill()
        self._unshare.wait(20)
        self._log.close()
        subprocess.run(
            ["unshare", "--mount", "sh", "-euc", CLEAR, "sh", self._cgroup, str(self._share)], check=True, timeout=20
        )
        shutil.rmtree(self._share)


def _enter_network(namespace: Path) -> None:
    """Put the calling thread, and it alone, into a network namespace."""
    with namespace.open() as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def _ask(port: int, path: str) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers={"Connection": "close"})
    return connection
