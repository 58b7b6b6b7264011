"""Values as people write them in the configuration: durations, signals, limits, names, paths.

Each function takes what is in the file and gives what the program uses, or raises ValueError with what would do.
"""

from __future__ import annotations

import re
import signal

from supervisor.linux.identity import CAPABILITIES
from supervisor.linux.limits import NUMBERS

_DURATION = re.compile(
    r"(?:(\d{1,9}(?:\.\d{1,9})?)h)?(?:(\d{1,9}(?:\.\d{1,9})?)m)?"
    r"(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?",
    re.ASCII,
)
_DURATIONS = '"500ms", "30s", "1m30s" or "2h"'
_DURATION_UNITS = (3600.0, 60.0, 1.0, 0.001)
_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(KiB|MiB|GiB|TiB)", re.ASCII)
_SIZE_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_LONGEST = 365 * 24 * 3600.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,62}")
_SOCKET_MODE = re.compile(r"0?[67][0-7]{2}")
_UMASK = re.compile(r"0?[0-7]{3}")
_DEVICE = re.compile(r"[!-.0-9;-~]{1,15}")
"""dev_valid_name() in net/core/dev.c: no slash, colon or space, and room for a NUL in IFNAMSIZ."""
_LONGEST_PATH = 4095
_LONGEST_OPTION = 32767
"""MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL of linux/tcp.h."""
_LONGEST_SOCKET_PATH = 107
_LARGEST_LIMIT = 2**63 - 1
_LARGEST_SCOPE = 2**32 - 1
_SCHEME = re.compile(r"(?:tcp|https?)://", re.IGNORECASE)

FROM_SYSTEMD = (
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "FDSTORE",
    "MAINPID",
    "MANAGERPID",
    "SYSTEMD_EXEC_PID",
)
"""Said to the supervisor and not to its children."""

OF_A_SHELL = ("_", "OLDPWD", "PWD", "SHLVL")
"""Said by the shell that gapless was started from, of itself: untrue of a server, and each handoff would pay for it
with one more exec on the server's way (`linux.spawn`)."""

OURS = ("LISTEN_FD", "READY_FD")

DIALECTS = {"einhorn": "EINHORN_", "server-starter": "SERVER_STARTER_"}
"""Others' words for what a child has, by how their variables begin."""


def duration(value: object) -> object:
    """Seconds of `500ms`, `30s`, `1m30s`, `2h`; anything else is refused."""
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        if match and value:
            seconds = sum(float(n) * unit for n, unit in zip(match.groups("0"), _DURATION_UNITS, strict=True))
            if seconds > _LONGEST:
                raise ValueError("want at most a year (8760h)")
            return seconds
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ValueError("want it in quotes and with a unit: " + _DURATIONS)  # noqa: TRY004 - a wrong value in a file
    if isinstance(value, str) and value.isdecimal():
        raise ValueError("want it with a unit: " + _DURATIONS)
    raise ValueError("want a duration: " + _DURATIONS)


def some_time(value: object) -> object:
    """A duration that is not 0."""
    seconds = duration(value)
    if seconds == 0:
        raise ValueError("want a duration of more than 0")
    return seconds


def size(value: object) -> object:
    """Bytes of `512MiB`, `2GiB`."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    found = int(float(match[1]) * _SIZE_UNITS[match[2]]) if match else 0
    if found <= 0:
        raise ValueError('want a size of more than 0, such as "512MiB" or "2GiB"')
    return found


def whole_seconds(value: object) -> object:
    """A duration that a socket option takes (tcp(7)): seconds, without a fraction."""
    seconds = duration(value)
    if not isinstance(seconds, float) or not seconds.is_integer() or not 1 <= seconds <= _LONGEST_OPTION:
        raise ValueError('want whole seconds, from "1s" to "32767s"')
    return int(seconds)


def device(value: str) -> str:
    """The name of a network device, which may not be there yet."""
    if not _DEVICE.fullmatch(value):
        raise ValueError('want the name of a network device (ip link), such as "eth0"')
    return value


def signal_name(value: object) -> object:
    """A signal by name, with or without SIG."""
    if isinstance(value, str):
        name = value.upper().removeprefix("SIG")
        if name in {"KILL", "STOP"}:
            raise ValueError("want a signal that a server can handle, such as TERM, QUIT or INT")
        if f"SIG{name}" in signal.Signals.__members__:
            return name
    raise ValueError('want a signal by name, such as "TERM", "QUIT" or "INT"')


def limit_name(value: str) -> str:
    """The name of a resource limit."""
    if value not in NUMBERS:
        raise ValueError(f"want one of {', '.join(NUMBERS)}")
    return value


def dialect(value: object) -> object:
    """The name of a dialect."""
    if not isinstance(value, str) or value not in DIALECTS:
        raise ValueError(f"want {' or '.join(DIALECTS)}, in quotes")
    return value


def capability(value: object) -> object:
    """The name of a capability, with or without CAP_, in small letters or large."""
    name = value.lower().removeprefix("cap_") if isinstance(value, str) else ""
    if name not in CAPABILITIES:
        raise ValueError('want the name of a capability, such as "net_bind_service" (see capabilities(7))')
    return name


def limit(value: object) -> object:
    """Soft and hard of a number or `soft:hard`; -1 stands for `unlimited`."""
    words = str(value).split(":", 2) if isinstance(value, str) else [value]
    numbers = [_one_limit(word) for word in words]
    soft, hard = numbers[0], numbers[-1]
    if soft is None or hard is None or len(words) > 2:  # noqa: PLR2004 - soft and hard
        raise ValueError('want a number, "SOFT:HARD" or "unlimited"')
    if hard != -1 and (soft == -1 or soft > hard):
        raise ValueError("want a soft limit that is not above the hard one")
    return soft, hard


def _one_limit(word: object) -> int | None:
    if word in ("unlimited", "infinity"):
        return -1
    if isinstance(word, str) and word.isascii() and word.isdecimal() and len(word) < 20:  # noqa: PLR2004 - digits of the largest one
        word = int(word)
    if isinstance(word, int) and not isinstance(word, bool) and -1 <= word <= _LARGEST_LIMIT:
        return word
    return None


def name(value: str) -> str:
    """Of a service or a listener: it becomes a file's name, and a part of LISTEN_FDNAMES."""
    if not _NAME.fullmatch(value):
        raise ValueError("want 1 to 63 of the letters a to z, digits, and . _ @ -, with a letter or digit first")
    return value


def word(value: str) -> str:
    """A string that execve(2) takes."""
    if "\0" in value:
        raise ValueError("want a string without NUL: the kernel ends it there")
    return value


def variable(value: str) -> str:
    """The name of an environment variable."""
    if not value or "=" in value or "\0" in value:
        raise ValueError("want a variable's name, without = and NUL")
    if value in (*FROM_SYSTEMD, *OURS) or value.startswith("GAPLESS_"):
        raise ValueError("is set by gapless itself: leave it out")
    return value


def path(value: str) -> str:
    """A full path."""
    if not value.startswith("/") or "\0" in value or len(value.encode()) > _LONGEST_PATH:
        raise ValueError("want a full path, from / on")
    return value


def socket_path(value: str) -> str:
    """A full path that fits into sun_path (unix(7))."""
    if len(path(value).encode()) > _LONGEST_SOCKET_PATH or value.endswith("/"):
        raise ValueError(f"want the full path of a socket, of at most {_LONGEST_SOCKET_PATH} bytes")
    return value


def socket_mode(value: str) -> str:
    """Octal digits that let the owner in."""
    if not _SOCKET_MODE.fullmatch(value):
        raise ValueError('want octal digits in quotes that let the owner read and write, such as "0660"')
    return value


def umask(value: str) -> str:
    """Octal digits."""
    if not _UMASK.fullmatch(value):
        raise ValueError('want three octal digits in quotes, such as "022"')
    return value


def address_text(value: str) -> str:
    """What may be an address: the usual mistakes are told apart here, before its parts are looked at."""
    if value.startswith("unix:"):
        return value
    if value.startswith("udp:") and not value.startswith("udp://"):
        raise ValueError("want it with two slashes, such as udp://127.0.0.1:5353")
    if _SCHEME.match(value):
        raise ValueError("want it without the scheme, such as 127.0.0.1:8080")
    scope = value.partition("%")[2].partition("]")[0]
    if not value.isprintable() or (scope.isdecimal() and int(scope[:11]) > _LARGEST_SCOPE):
        raise ValueError("want an address such as 127.0.0.1:8080, [::1]:8080 or [fe80::1%eth0]:8080")
    return value
