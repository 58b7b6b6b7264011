"""Sockets as files: who is behind one, whether it may be taken, and having a path lead from one socket to another.

A socket is bound to a hidden name of its own. The path that clients use is one more hard link to it, made under a
temporary name and renamed over the path: whoever looks the path up meets the old socket or the new one, and never none.
"""

import errno
import os
import socket
import stat
import struct
from collections.abc import Container
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from supervisor.errors import HostError
from supervisor.linux import sockdiag, unixdiag

Identity = tuple[int, int]
"""Device and inode of a file."""

_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid


class Own(NamedTuple):
    """A socket's own name, and which file that is."""

    path: str
    identity: Identity


def identity(path: str) -> Identity | None:
    """Tell which file is at a path, links not followed; None when there is none. Raises OSError."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def hidden(path: str, suffix: str) -> str:
    """Give the name beside a path that nobody sees who does not look for it."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/.{name}.{suffix}"


def refuse_taken(path: str) -> None:
    """Raise HostError unless a path is free: nothing there, or a socket file that no socket is bound to any more.

    Asked by connect(2) with a socket of another type, which tells without troubling a server: EPROTOTYPE is a living
    socket of any state, ECONNREFUSED is none (unix_find_bsd()).
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as refused:
        raise HostError(f"{path} cannot be looked at: {refused.strerror}") from refused
    if not stat.S_ISSOCK(mode):
        raise HostError(f"{path} is there and is no socket: move it away, or listen on another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as question:
        try:
            question.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return
        except OSError as error:
            if error.errno != errno.EPROTOTYPE:
                raise HostError(f"{path} is there and cannot be looked at: {error.strerror}") from error
    raise HostError(f"{path} is in use by {_holder(path)}: free it, or listen on another path")


def clear(path: str) -> None:
    """Remove a socket file that nobody is behind. Raises HostError for anything else that is there."""
    refuse_taken(path)
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as refused:
        raise HostError(f"{path} is left over and cannot be removed: {refused.strerror}") from refused


def sweep(path: str) -> None:
    """Remove what an earlier supervisor left beside a path. What is alive, or no socket, stays."""
    for found in Path(path).parent.glob(_literal(hidden(path, "")) + "gen-*"):
        if found.name.rpartition("-")[2].isdecimal():
            with suppress(HostError):
                clear(str(found))
    with suppress(OSError):
        Path(hidden(path, "new")).unlink()


def settle(path: str, mode: int, owner: tuple[int, int]) -> Own:
    """Give a file that a socket was just bound to its mode and its owner (-1: as it is). Raises OSError, HostError.

    Who else may write to the folder, as the server's own user often may, could have put a link there meanwhile, to a
    file of ours that is nobody's business. So what is changed is what was looked at, by O_PATH (open(2)) and its name
    in /proc, and only a socket of ours with no other name.
    """
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink != 1:
            raise HostError(f"{path} was replaced by somebody else: have gapless alone write to that folder")
        os.chmod(f"/proc/self/fd/{fd}", mode)  # noqa: PTH101 - by a number, and no Path wanted
        if owner != (-1, -1):
            os.chown(f"/proc/self/fd/{fd}", *owner)
        return Own(path, (found.st_dev, found.st_ino))
    finally:
        os.close(fd)


def own_of(sock: socket.socket, path: str) -> Own:
    """Tell the own name of a socket that is bound already, and which file that is. Raises OSError.

    Without that name, which a server may have removed, the path is the only way to its file.
    """
    name = sock.getsockname()
    found = identity(name) or identity(path)
    if found is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    return Own(name, found)


def lead(path: str, own: Own, ours: Container[Identity]) -> bool:
    """Have a path lead to a socket; tell whether it led elsewhere before. Raises HostError, with nothing changed.

    What is not of `ours` is replaced only if nobody is behind it.
    """
    try:
        there = identity(path)
        _restore(own, path if there == own.identity else None)
        if there == own.identity:
            return False
        if there not in ours:
            refuse_taken(path)
        temporary = hidden(path, "new")
        Path(temporary).unlink(missing_ok=True)
        os.link(own.path, temporary)
        os.rename(temporary, path)  # noqa: PTH104 - the system call that all rests upon, by its name
    except OSError as refused:
        raise HostError(f"{path} cannot be made to lead to {own.path}: {refused.strerror}") from refused
    return True


def remove(path: str, wanted: Container[Identity]) -> None:
    """Remove a path if it is one of those files. Who may not do so leaves it there: it refuses connections."""
    with suppress(OSError):
        if identity(path) in wanted:
            Path(path).unlink()


def _restore(own: Own, other: str | None) -> None:
    """Give a socket its own name again, which its server has removed, from its other one. Raises HostError, OSError."""
    if identity(own.path) == own.identity:
        return
    if other is None:
        raise HostError(f"{own.path} has been removed, and its socket has no other name: nobody can connect to it")
    os.link(other, own.path)


def _literal(path: str) -> str:
    """A file's name as a pattern for itself."""
    return "".join(f"[{each}]" if each in "*?[" else each for each in path.rpartition("/")[2])


def _holder(path: str) -> str:
    """Who is behind a socket file, for the end of a sentence: by its socket, else by who called listen(2)."""
    with suppress(OSError):
        found = os.lstat(path)
        for inode in unixdiag.bound_to(found.st_dev, found.st_ino):
            return sockdiag.FoundSocket(path, 0, found.st_uid, inode).owner()
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as caller:
        caller.connect(path)
        credentials = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid = _CREDENTIALS.unpack(credentials)[0]
        return f"{Path(f'/proc/{pid}/comm').read_text(errors='replace').strip()} (pid {pid})"
    return "a process that cannot be seen from here"
