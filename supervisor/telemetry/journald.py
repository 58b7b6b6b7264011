"""The log by the journal's own protocol, where standard error is the journal: fields that journalctl can select by.

An entry is one datagram of `NAME=value` lines; one that is too large for that goes as a sealed memfd
(https://systemd.io/JOURNAL_NATIVE_PROTOCOL). This is written here because nothing may keep the daemon waiting:
sd_journal_send(3) waits in sendmsg(2) as long as journald does not read (seen after 11 entries), and so do all that
call it, systemd-python and cysystemd among them. The latter costs 2.9 MB of memory besides.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

SOCKET: Final = "/run/systemd/journal/socket"

MESSAGE_IDS: Final = {
    "control_answered": "a943770665a74e41b407f1a01efe7b30",
    "control_asked": "7d73db2473e34e7f843e823064845d72",
    "control_refused": "80b3a0eb9d804b709ac0de287cea7696",
    "control_roles": "72d5f953b5ec46c09e5819026e259c84",
    "generation_ailing": "ea83a45f37444dd59970e06c7b986403",
    "generation_down": "4fb166a02d55406bbe9d976d0c365674",
    "generation_ended": "fc6a8a510fbc4ea883a07c30fc091344",
    "generation_killed": "fd3e068c39434d5b8aad396b6e5fc93c",
    "generation_ready": "52671f0692f64c41869476728960d11c",
    "generation_role": "8c5175d162a54ac9980f6af020b88124",
    "generation_spoke": "1612906fdfb64b859758a95f8157f8f0",
    "generation_started": "d33b5feb729645828d495678fa848cfa",
    "generation_told": "a27c9d0ecaab483b8d333bdb93f28a77",
    "generation_well": "c18d0109e17f4e0097e70f404e65872d",
    "handoff_began": "0939642226784e22ba0dd71fa2f3df40",
    "handoff_ended": "c8cf8c2446b14558a5cd9c42f795ec42",
    "leaving": "c211ef8180d94e248ceb0ce34d4fc011",
    "follow_failed": "fbcff03957cb44408bb3309601f1ae24",
    "no_good_release": "4a7b479aace14f67a03f8f3c2de1889f",
    "oom_killed": "9967ddf27d794a3fa9a29b694aa96c92",
    "phase": "b70cddb271c24d8ebb7f8741e83d2688",
    "quarantine_began": "781992dc467a45ee8d9b803ed55dfa2c",
    "quarantine_ended": "b2bd50e2f8b649609ea6c473601ecb29",
    "queue_migrated": "5a5980b9026a4cd6ae287648f064f5fa",
    "queue_reset": "efaff6c4a499496480c42ddce6dd807b",
    "replacement_due": "490247ad1edf480e965a1d9aa2862e2d",
    "request_kept": "e2ee0d2223ee4f628ea38d505ae1b189",
    "request_refused": "536d9f67349e42ae852a261d019a39ee",
    "restart_due": "15df5afe7dc145a3bd3dbff15e596901",
    "service_failing": "29c9468a8d6146edbc0c0df6643d5f6d",
    "stopping": "fc7469b863c24cd98bef9c41dc7970e9",
    "taken_over": "e0415121a8d74f47bd623bf8e4451860",
}
"""The events of a service's life. People select by these: they never change, and a new event gets a new one."""

_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""syslog(3)"""
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
"""journald takes no memfd that could still change."""
_LENGTH = struct.Struct("<Q")
_BARE = re.compile(r'[^\s"=]+')


def is_behind(fd: int) -> bool:
    """Whether the journal reads what is written there: JOURNAL_STREAM names that very stream (systemd.exec(5))."""
    found = os.fstat(fd)
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}" and Path(SOCKET).is_socket()


class Entry:
    """The last of structlog's processors: from an event to a datagram."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __call__(self, _logger: object, _name: str, fields: MutableMapping[str, Any]) -> bytes:
        """Every field of the event is GAPLESS_ and its name; the message says the same for people."""
        event, level = fields.pop("event"), fields.pop("level")
        exception, at = fields.pop("exception", None), fields.pop("at", None)
        said = {name: _word(value) for name, value in fields.items() if value is not None}
        message = " ".join([event, *(f"{name}={_quoted(value)}" for name, value in said.items())])
        return encoded(
            {f"GAPLESS_{name.upper()}": value for name, value in said.items()}
            | {
                "MESSAGE": f"{message}\n{exception}" if exception else message,
                "PRIORITY": str(_PRIORITIES[level]),
                "SYSLOG_IDENTIFIER": "gapless",
                "GAPLESS_EVENT": event,
                "GAPLESS_SERVICE": self._service,
            }
            | ({} if at is None else {"GAPLESS_AT": f"{at:.6f}"})
            | ({"MESSAGE_ID": MESSAGE_IDS[event]} if event in MESSAGE_IDS else {})
        )


def encoded(fields: Mapping[str, str]) -> bytes:
    """Fields as the journal wants them: a value with a newline in it is preceded by its length."""
    data = bytearray()
    for name, value in fields.items():
        raw = value.encode(errors="backslashreplace")
        if b"\n" in raw:
            data += name.encode() + b"\n" + _LENGTH.pack(len(raw)) + raw + b"\n"
        else:
            data += name.encode() + b"=" + raw + b"\n"
    return bytes(data)


class Outlet:
    """Where structlog leaves its entries. What journald does not take at once is lost, and counted."""

    def __init__(self, service: str, path: str = SOCKET) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._path = path
        self._service = service
        self._lost = 0

    def msg(self, entry: bytes) -> None:
        """Send one; before it, how many could not be sent."""
        if self._lost:
            lost = {"event": "log_lines_lost", "level": "warning", "count": self._lost}
            if self._sent(Entry(self._service)(None, "", lost)):
                self._lost = 0
        if not self._sent(entry):
            self._lost += 1

    def close(self) -> None:
        """Send no more."""
        self._socket.close()

    debug = info = warning = error = critical = msg

    def _sent(self, entry: bytes) -> bool:
        try:
            try:
                self._socket.sendto(entry, self._path)
            except OSError as refused:
                if refused.errno not in {errno.EMSGSIZE, errno.ENOBUFS}:
                    return False
                self._send_sealed(entry)
        except OSError:  # no file descriptor is left, or no memory
            return False
        return True

    def _send_sealed(self, entry: bytes) -> None:
        fd = os.memfd_create("journal-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with os.fdopen(fd, "wb", closefd=False) as file:
                file.write(entry)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fd))
            self._socket.sendmsg([], [rights], 0, self._path)  # socket.send_fds leaves the address out
        finally:
            os.close(fd)


def _word(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _quoted(text: str) -> str:
    return text if text.isprintable() and _BARE.fullmatch(text) else json.dumps(text, ensure_ascii=False)
