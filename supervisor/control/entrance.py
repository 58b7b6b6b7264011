"""The entrance: the control socket's file, who may open it, and what they may do inside.

The file's mode and group keep out who has no business here; what the others may do is decided at each request, by what
the kernel said of them when they connected and by the configuration of now.
"""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from supervisor.core.access import Access, Admission
from supervisor.errors import HostError
from supervisor.linux import socketfile

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor.linux.peer import Peer
    from supervisor.linux.socketfile import Identity

_FOLDER = 0o755
_GROUPS_TOLD = 64


class Entrance:
    """Who is let in at one path."""

    def __init__(self, path: Path, admission: Admission | None = None) -> None:
        self.path = path
        self._admission = admission or Admission()
        self._file: Identity | None = None

    def access(self, peer: Peer) -> Access:
        """What they may do just now."""
        return self._admission.access_of(peer.uid, peer.gids, os.geteuid())

    def found(self, peer: Peer) -> dict[str, Any]:
        """Who they are taken to be, for themselves."""
        groups = sorted(peer.groups)[:_GROUPS_TOLD]
        who = {"uid": peer.uid, "gid": peer.gid, "groups": groups, "pid": peer.pid}
        return {**who, "role": self.access(peer).role}

    def open(self) -> socket.socket:
        """Bind, and let nobody in who may not. Raises HostError.

        A socket file that a dead supervisor left is replaced: the lock on the service's state says that it is dead.
        """
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._make_folder()
            self._clear()
            os.fchmod(listening.fileno(), 0o600)  # bind(2) makes the file with it: unix_bind_bsd()
            listening.bind(str(self.path))
            self._file = self._dress(self._admission)
        except OSError as refused:
            listening.close()
            raise HostError(f"cannot open the control socket {self.path}: {refused.strerror or refused}") from refused
        except HostError:
            listening.close()
            raise
        return listening

    def change(self, admission: Admission) -> bool:
        """From now on it is those who are let in; whether that is another word. Raises HostError, nothing changed."""
        was = self._admission
        if (admission.mode, admission.group) != (was.mode, was.group) and self._ours():
            try:
                self._dress(admission)
            except OSError as refused:
                with suppress(OSError):
                    self._dress(was)
                raise HostError(f"{self.path} cannot be given its mode and group: {refused.strerror}") from refused
        self._admission = admission
        return admission != was

    def close(self) -> None:
        """Leave no file."""
        with suppress(OSError):
            if self._ours():
                self.path.unlink()

    def _ours(self) -> bool:
        return self._file is not None and socketfile.identity(str(self.path)) == self._file

    def _make_folder(self) -> None:
        """One that is made here is made for whom the socket is made, whatever our umask is."""
        folder = self.path.parent
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(_FOLDER)

    def _dress(self, admission: Admission) -> Identity:
        """The group while it is nobody's but ours: a mode is for the group that it was meant for.

        Where nothing is to be changed nothing is tried: a unit may have been denied chown(2) altogether.
        """
        group = os.getegid() if admission.group is None and self._file is not None else admission.group
        if group is not None and self.path.lstat().st_gid != group:
            try:
                socketfile.settle(str(self.path), 0o600, (-1, group))
            except PermissionError as denied:
                why = f'gapless may not give it to group {group}: be in that group, or say mode = "0666" alone'
                raise PermissionError(denied.errno, why) from denied
        return socketfile.settle(str(self.path), admission.mode, (-1, -1)).identity

    def _clear(self) -> None:
        """Remove what a dead supervisor left, and nothing else."""
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(found.st_mode):
            raise HostError(f"{self.path} is there and is no socket: name another [control] socket, or move it away")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as asking:
            try:
                asking.connect(str(self.path))
            except ConnectionRefusedError:
                self.path.unlink()
                return
            except BlockingIOError:
                pass  # its queue is full: somebody listens
        raise HostError(f"another process listens at {self.path}: give each service its own [control] socket")
