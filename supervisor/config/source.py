"""Where the settings come from: a file or arguments, read at the start and when they have changed, and never else.

What checks a configuration (pydantic and the models) would be a fourth of an idle daemon's memory and a third of the
time that it takes to begin, so it is loaded by a process of its own (`reader`), which works beside what the daemon
loads. This process looks at the text alone: one that is the same byte for byte needs no second reading.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import stat
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from supervisor import __version__
from supervisor.errors import ConfigurationError, HostError
from supervisor.linux.errand import Errand

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from supervisor.config.settings import Settings

_LARGEST = 1 << 20
"""Bytes of a file. One that somebody wrote has a thousandth of it."""
_SPARE = 4096
"""Bytes that are read beside those: it may be growing, and a file of procfs has no size."""
_LARGEST_ANSWER = 16 << 20
"""Bytes: a file, and an environment as large as execve(2) lets it be, in JSON."""
_PATIENCE = 30.0
"""Seconds that a reading may take. It takes 0.2 on an idle machine."""

_BOOT = "import sys; sys.path[:] = sys.argv[3:]; from supervisor.config.reader import main; main()"
"""Has the reader find this very package, and nothing in the current folder."""


def contents(path: Path) -> bytes:
    """What is in a plain file, and in nothing else: a pipe would keep the daemon waiting. Raises ConfigurationError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise ConfigurationError(f"{path} is not a file: want the path of a configuration (TOML)")
            if found.st_size > _LARGEST:
                raise ConfigurationError(
                    f"{path} has {found.st_size} bytes: want a configuration of at most {_LARGEST}"
                )
            return os.read(descriptor, found.st_size + _SPARE)
        finally:
            os.close(descriptor)
    except OSError as refused:
        raise ConfigurationError(f"{path} cannot be read: {refused.strerror or refused}") from refused


class Source:
    """A configuration, and the settings that it amounted to when it was read last."""

    def __init__(self, kind: str, name: str, text: Callable[[], bytes], *, patience: float = _PATIENCE) -> None:
        """`kind` is for the reader, `name` for people; `text` is what it says now. Raises nothing yet."""
        self._kind = kind
        self._name = name
        self._text = text
        self._patience = patience
        self._begun: tuple[bytes, Errand] | None = None
        self._read: tuple[bytes, Settings, tuple[Any, ...]] | None = None

    @property
    def path(self) -> str | None:
        """The full path of the file; None: it is of arguments."""
        return self._name if self._kind == "file" else None

    @classmethod
    def of_file(cls, path: Path) -> Source:
        """A file, as it is each time."""
        return cls("file", str(path), lambda: contents(path))

    @classmethod
    def of_arguments(
        cls, command: Sequence[str], addresses: Sequence[str], *, name: str | None, socket: str | None
    ) -> Source:
        """What arguments alone amount to."""
        given = {"command": command, "addresses": addresses, "name": name, "socket": socket}
        text = json.dumps(given).encode()
        return cls("arguments", "arguments", lambda: text)

    def begin(self) -> None:
        """Begin the first reading, beside what the caller does until `first`. Raises ConfigurationError."""
        text = self._text()
        self._begun = text, self._reader(text)

    def first(self) -> Settings:
        """What the reading that has begun comes to. Raises ConfigurationError."""
        assert self._begun is not None  # noqa: S101 - begin() comes first
        (text, reader), self._begun = self._begun, None
        try:
            answer = reader.wait(self._patience)
        except HostError as failed:
            raise self._unread(str(failed)) from failed
        return self._keep(text, answer)

    async def now(self) -> Settings:
        """The settings as they are now: those in hand if nothing has changed. Raises ConfigurationError."""
        text = self._text()
        if self._read is not None:
            before, settings, host = self._read
            if text == before and host == _host(settings):
                return settings
        try:
            answer = await self._reader(text).answer(self._patience)
        except HostError as failed:
            raise self._unread(str(failed)) from failed
        return self._keep(text, answer)

    def _reader(self, text: bytes) -> Errand:
        utf8 = f"utf8={sys.flags.utf8_mode}"  # the environment is to be decoded there as it will be encoded here
        argv = [sys.executable, "-X", utf8, "-c", _BOOT, self._kind, self._name, *sys.path]
        try:
            return Errand(argv, text, most=_LARGEST_ANSWER)
        except HostError as failed:
            raise self._unread(str(failed)) from failed

    def _keep(self, text: bytes, said: bytes) -> Settings:
        settings = self._understood(said)
        self._read = text, settings, _host(settings)
        return settings

    def _understood(self, said: bytes) -> Settings:
        from supervisor.config.settings import Settings, from_json  # noqa: PLC0415 - the first reader begins before it

        try:
            answer = from_json(said.rstrip(b"\n").rpartition(b"\n")[2])  # a warning may stand before it
            version, found, refused = answer["version"], answer.get("settings"), answer.get("refused")
        except (ValueError, TypeError, KeyError, AttributeError) as odd:
            raise self._unread(f"what reads it gave an answer that makes no sense ({odd})") from odd
        if version != __version__:
            raise self._unread(f"gapless is {version} on disk by now, and this is {__version__}")
        if isinstance(refused, str):
            raise ConfigurationError(refused)
        if not isinstance(found, Settings):
            raise self._unread("what reads it gave no answer")
        return found

    def _unread(self, why: str) -> ConfigurationError:
        hint = "if gapless was replaced on disk meanwhile, restart it"
        return ConfigurationError(f"{self._name} could not be read: {why}; {hint}")


def _host(settings: Settings) -> tuple[Any, ...]:
    """What settings depend on beside the text: the folder that we are in, and the host's users and groups."""
    launch = settings.launch
    folder: str | None = None
    with suppress(OSError):
        folder = os.getcwd()  # noqa: PTH109 - what the kernel says, and no Path is wanted of it
    users = (launch.user, *(each for each in settings.people if not each.startswith("@")))
    groups = (launch.group, *(launch.groups or ()), *(each[1:] for each in settings.people if each.startswith("@")))
    return folder, *(_entry(pwd.getpwnam, each) for each in users), *(_entry(grp.getgrnam, each) for each in groups)


def _entry(look_up: Callable[[str], Any], name: str | None) -> Any:  # noqa: ANN401 - an entry of passwd or group
    try:
        return look_up(name) if name else None
    except KeyError:
        return None
