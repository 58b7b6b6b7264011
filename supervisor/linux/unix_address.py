"""A Unix address as an operator writes it, and the sockets that are bound to it."""

import errno
import grp
import os
import pwd
import re
import socket
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Self

from msgspec import Struct

from supervisor.errors import HostError
from supervisor.linux import socketfile
from supervisor.linux.address import Socket

PREFIX = "unix:"
KEYS = frozenset({"socket_mode", "socket_user", "socket_group"})
"""What only a Unix socket with a path has."""

_FORMS = "write unix:/full/path.sock, or unix:@name for an abstract socket"
_LONGEST = 107
"""Bytes: sun_path in unix(7), less its NUL."""
_SUFFIX = len("..gen-999999")
"""Bytes that a generation's own name takes beside the path."""
_MODE = re.compile(r"0?[0-7]{3}")
_USABLE = 0o600


class UnixAddress(Struct, frozen=True, kw_only=True):
    """Where a Unix stream listener listens: `path` is a full path, or `@name` in the abstract namespace.

    `file_mode` is the file's, by default that of systemd's SocketMode=: whoever may enter the folder may connect.
    """

    name: str
    path: str
    backlog: int = 4096
    file_mode: int = 0o666
    user: str | None = None
    group: str | None = None

    @classmethod
    def parse(cls, text: str, *, name: str, backlog: int, options: Mapping[str, str | int]) -> Self:
        """Read `unix:/path` or `unix:@name`; raise ValueError saying what would do."""
        path = text.removeprefix(PREFIX)
        strange = sorted(options.keys() - KEYS)
        if strange:
            raise ValueError(f"{strange[0]} means nothing for a Unix socket: leave it out")
        if path.startswith("@"):
            if options:
                raise ValueError(f"{min(options)} means nothing for an abstract socket, which is no file: leave it out")
            _check_abstract(path)
            return cls(name=name, path=path, backlog=backlog)
        _check_path(path)
        user, group = options.get("socket_user"), options.get("socket_group")
        return cls(
            name=name,
            path=path,
            backlog=backlog,
            file_mode=_mode(str(options.get("socket_mode", "0666"))),
            user=None if user is None else _known(pwd.getpwnam, "socket_user", str(user)),
            group=None if group is None else _known(grp.getgrnam, "socket_group", str(group)),
        )

    def __str__(self) -> str:
        """Give the form which parse() reads again."""
        return f"{PREFIX}{self.path}"

    @property
    def abstract(self) -> bool:
        """Tell whether it is a name without a file."""
        return self.path.startswith("@")

    @property
    def identity(self) -> Hashable:
        """Tell what two configurations have in common that mean the same listener."""
        return "unix", self.path

    @property
    def mode(self) -> str:
        """Each generation has a socket of its own."""
        return "reuseport"

    @property
    def endpoint(self) -> None:
        """It has neither IP address nor port."""
        return

    @property
    def fixed(self) -> bool:
        """It is the same each time."""
        return True

    @property
    def remarks(self) -> tuple[str, ...]:
        """Tell of a folder that is missing: it may come with the service's start (RuntimeDirectory=)."""
        if self.abstract or Path(self.path).parent.is_dir():
            return ()
        return (f"{self}: {self._no_folder()}",)

    def own(self, number: int) -> str:
        """Give the name that the socket of one set is bound to."""
        return socketfile.hidden(self.path, f"gen-{number}")

    def refuse(self) -> None:
        """Raise HostError, saying why, when clients could not be let in here; leftovers are cleared away."""
        if self.abstract:
            return
        if not Path(self.path).parent.is_dir():
            raise HostError(f"{self} cannot be bound: {self._no_folder()}")
        socketfile.refuse_taken(self.path)
        socketfile.sweep(self.path)

    def bind(self, number: int) -> tuple[Socket, socketfile.Own | None]:
        """Bind a socket for one set that does not listen yet, with its file's mode and owner. Raises HostError.

        Nobody can connect before it listens, whatever the umask lets the file be at first.
        """
        if self.abstract:
            return self._bound(f"\0{self.path[1:]}"), None
        path = self.own(number)
        owner = self._owner()
        socketfile.clear(path)
        sock = self._bound(path)
        try:
            return sock, socketfile.settle(path, self.file_mode, owner)
        except OSError as error:
            refusal = self._refusal(error)
        except HostError as error:
            refusal = error
        sock.close()
        Path(path).unlink(missing_ok=True)
        raise refusal

    def _bound(self, name: str) -> Socket:
        try:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        except OSError as error:
            raise self._refusal(error) from error
        try:
            sock.settimeout(None)  # children share its file description, and expect it to block
            sock.bind(name)
        except OSError as error:
            sock.close()
            raise self._refusal(error) from error
        return sock

    def _owner(self) -> tuple[int, int]:
        try:
            user = pwd.getpwnam(self.user).pw_uid if self.user else -1
            return user, grp.getgrnam(self.group).gr_gid if self.group else -1
        except KeyError as gone:
            raise HostError(f"{self} has an owner that this host does not know: {gone.args[0]}") from None

    def _refusal(self, error: OSError) -> HostError:
        match error.errno:
            case errno.EPERM if self.user or self.group:
                wanted = f"{self.user or ''}:{self.group or ''}"
                return HostError(
                    f"{self} cannot be given to {wanted}: only root may, or a member of that group for socket_group"
                )
            case errno.EACCES | errno.EROFS:
                folder = Path(self.path).parent
                return HostError(f"{self} cannot be bound: gapless must be able to write to the folder {folder}")
            case errno.EADDRINUSE:
                return HostError(f"{self} is in use")
            case _:
                return HostError(f"{self} cannot be listened on: {os.strerror(error.errno or 0)}")

    def _no_folder(self) -> str:
        folder = Path(self.path).parent
        return f"the folder {folder} is missing: make it (under systemd by RuntimeDirectory=)"


def _check_path(path: str) -> None:
    if not path.startswith("/") or path.endswith("/") or not path.isprintable():
        raise ValueError(f"{PREFIX}{path!r} is no full path of a socket: {_FORMS}")
    if os.path.normpath(path) != path:
        raise ValueError(f"{path!r} can be written shorter: write {PREFIX}{os.path.normpath(path)}")
    longest = _LONGEST - _SUFFIX
    if len(path.encode()) > longest:
        raise ValueError(
            f"{path!r} has {len(path.encode())} bytes: want at most {longest}, since the kernel takes {_LONGEST} and "
            "each generation has a name of its own beside it"
        )


def _check_abstract(path: str) -> None:
    if len(path) == 1 or not path.isprintable():
        raise ValueError(f"{PREFIX}{path!r} has no name after the @: {_FORMS}")
    if len(path.encode()) > _LONGEST:
        raise ValueError(f"{path!r} has {len(path.encode())} bytes: the kernel takes {_LONGEST}")


def _mode(text: str) -> int:
    if not _MODE.fullmatch(text) or int(text, 8) & _USABLE != _USABLE:
        raise ValueError(
            f'socket_mode = "{text}" will not do: want octal digits in quotes that let the owner read and write, '
            'such as "0660"'
        )
    return int(text, 8)


def _known(look_up: object, key: str, name: str) -> str:
    try:
        assert callable(look_up)  # noqa: S101 - pwd.getpwnam or grp.getgrnam
        look_up(name)
    except (KeyError, ValueError):
        raise ValueError(f'{key} = "{name}" is not known on this host: want a name of it') from None
    return name
