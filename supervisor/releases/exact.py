"""What was verified is what is run: the very file, open, and not whatever its name leads to by then.

Between a check and an exec by name another file can be put in place, or the same one written to. So the file that was
verified is opened, and a read lease taken on it (fcntl(2)): from then on whoever opens it to write waits, and the lease
says so. Then it is compared with what was verified: the same inode, not changed since its digest was taken, or else the
digest is taken once more. The open file goes to the process that becomes the server (`linux.spawn`), which sees that
the lease still stands and nothing has changed, and executes the open file itself. From there on the kernel lets nobody
write to it. The lease ends with that exec.

A file that is open for writing gets no lease, and is not run. Some file systems know no leases, and of another user's
file it takes CAP_LEASE: there the time of the last change tells, up to microseconds before the exec.

A script is read by its interpreter, by name: there the check comes right before the start, and what keeps others from
it between the two are the modes of the folder.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor.errors import ReleaseError
from supervisor.linux.spawn import Program
from supervisor.releases.layout import Layout
from supervisor.releases.verify import digest_of

if TYPE_CHECKING:
    from supervisor.core.model import Release


def opened(release: Release) -> Program | None:
    """The open file that is to be run; None: it is run by its name. Whoever gets it closes it. Raises ReleaseError."""
    if not _is_in_its_version(release):
        return None
    try:
        fd = os.open(release.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as refused:
        raise ReleaseError(f"{release.path} cannot be opened: {refused.strerror}") from refused
    try:
        leased = _lease(fd, release.path)
        changed = _changed(fd, release)
        is_script = os.pread(fd, 2, 0) == b"#!"
    except BaseException:  # whatever it was, the file must not stay open; it goes on up
        os.close(fd)
        raise
    if is_script:
        os.close(fd)
        return None
    return Program(fd, changed, leased=leased)


def _is_in_its_version(release: Release) -> bool:
    """Whether what is run is part of what was sealed: the interpreter of a sealed script may be the host's own."""
    store = release.launch.store
    if release.sealed is None or release.version is None or store is None:
        return False
    return Path(release.path).is_relative_to(Layout(store.root).folder(release.version).resolve())


def _lease(fd: int, path: str) -> bool:
    """Whether it could be had. The signal that would be sent is one that means nothing to anybody: SIGIO would kill."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as refused:
        if refused.errno == errno.EAGAIN:
            raise ReleaseError(
                f"{path} is open for writing: it is run when whoever writes to it has closed it"
            ) from None
        return False
    return True


def _changed(fd: int, release: Release) -> int:
    """When the file was changed last, if it is the one that was verified. Raises ReleaseError if it is not."""
    found = os.fstat(fd)
    known = (release.device, release.inode, release.size, release.ctime_ns)
    if release.ctime_ns is None or known != (found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns):
        found, digest = digest_of(fd)
        if digest != release.sha256:
            raise ReleaseError(f"{release.path} is not what was verified: its SHA-256 is {digest}")
    return found.st_ctime_ns
