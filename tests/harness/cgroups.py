"""A cgroup that is delegated to who runs in it, as systemd would; and where it can be seen whatever the host mounts."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from supervisor.linux.cgroup import Leaf
from tests.harness.builds import ROOT
from tests.harness.network import Network
from tests.harness.output import DEADLINE

_HOLD = r"""
mount --make-rprivate /
umount --recursive /sys/fs/cgroup 2>/dev/null || true  # the same cannot be mounted twice in one place
mount -t cgroup2 cgroup2 /sys/fs/cgroup
folder=/sys/fs/cgroup$(sed -n 's|^0::/*|/|p' /proc/self/cgroup)
folder=${folder%/}/$1
mkdir "$folder"
echo "$folder"
read -r over
"""

# As systemd and its ExecStopPost= do it.
_ENTER = """
cd "$1"
shift
for each in $(cat "$0/cgroup.subtree_control"); do echo "-$each" >"$0/cgroup.subtree_control"; done
echo $$ >"$0/cgroup.procs"
exec "$@"
"""


class Delegated(Network):
    """A new cgroup, in a mount namespace of its own. What is run with its prefix begins there."""

    def __init__(self, name: str, *, mark: str | None = "user.delegate") -> None:
        if os.geteuid() != 0:
            pytest.skip("a cgroup to be delegated is made by root")
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-euc", _HOLD, "sh", f"gapless-test-{os.getpid()}-{name}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        self.inside = self._holder.stdout.readline().strip()
        """Its path, as those see it who are in it."""
        if not self.inside:
            self._holder.communicate()
            pytest.skip("no cgroup2 can be mounted and divided here")
        self.folder = Path(f"/proc/{self._holder.pid}/root{self.inside}")
        """The same, as the test can open it."""
        if mark is not None:
            os.setxattr(self.folder, mark, b"1")
        # the holder's root folder: that of the namespace is another where the test itself runs below a chroot
        self.prefix = (
            "nsenter",
            f"--target={self._holder.pid}",
            "--mount",
            "--root",
            "--wd",
            "sh",
            "-euc",
            _ENTER,
            self.inside,
            str(ROOT),
        )

    def leaves(self) -> list[str]:
        """The names of the cgroups in it."""
        return sorted(each.name for each in self.folder.iterdir() if each.is_dir())

    def pids(self) -> set[int]:
        """Who is in it or below."""
        return Leaf(self.folder, charged=False).pids()

    def close(self) -> None:
        """End all that is in it."""
        whole = Leaf(self.folder, charged=False)
        whole.kill()
        until = time.monotonic() + DEADLINE
        while not whole.remove():
            assert time.monotonic() < until, f"{whole.pids()} cannot be ended"
            os.sched_yield()
        self._holder.communicate("\n", DEADLINE)
