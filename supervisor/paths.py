"""Where a service keeps its files: what lasts, what lives as long as the boot, and the control socket."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from supervisor.errors import HostError

_SYSTEM = Path("/run/gapless")
"""Where a service of the system has its sockets, whoever it runs as."""
_CONTROL = "control.sock"
_LONGEST_SOCKET_PATH = 107
"""sun_path without its NUL, unix(7)."""
LONGEST_NAME = len("/notify-1000000.1000.sock")
"""Of what is put into the runtime folder, with its slash."""


def control_socket(service: str, configured: str | None) -> Path:
    """The control socket of a service that we supervise, there or not."""
    return Path(configured) if configured else _runtime(service) / _CONTROL


def living_control_socket(service: str) -> Path:
    """The control socket of a service that somebody supervises: the one that is there, or where ours would be."""
    ours = control_socket(service, None)
    system = _SYSTEM / service / _CONTROL
    return system if not ours.exists() and os.access(system, os.W_OK) else ours


def control_sockets() -> list[Path]:
    """All that are where they usually are, and that we may use."""
    roots = {runtime_root(), _SYSTEM}
    return sorted(path for root in roots for path in root.glob(f"*/{_CONTROL}") if os.access(path, os.W_OK))


def runtime_dir(service: str) -> Path:
    """The folder for sockets, made if need be. Raises HostError."""
    folder = _runtime(service)
    if len(os.fsencode(folder)) + LONGEST_NAME > _LONGEST_SOCKET_PATH:
        raise HostError(f"{folder} is too long for sockets in it: choose a shorter service.name or XDG_RUNTIME_DIR")
    return _make(folder, 0o755)


def state_dir(service: str, configured: str | None) -> Path:
    """The folder for journal and history, made if need be. Raises HostError."""
    return _make(state_path(service, configured), 0o700)


def state_path(service: str, configured: str | None) -> Path:
    """The folder for journal and history, there or not."""
    given = configured or os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/lib/gapless") / service
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local/state")
    return Path(home) / "gapless" / service


def runtime_root() -> Path:
    """Where the runtime folders of all services are that this user supervises. Raises HostError."""
    return _SYSTEM if os.geteuid() == 0 else _user_runtime() / "gapless"


def runtime_path(service: str) -> Path:
    """The folder for sockets, there or not."""
    root = Path("/run") if os.geteuid() == 0 else _session() or _private()
    return _made_by_systemd(service) or root / "gapless" / service


def _runtime(service: str) -> Path:
    return _made_by_systemd(service) or runtime_root() / service


def _made_by_systemd(service: str) -> Path | None:
    """What RuntimeDirectory= made for the service (systemd.exec(5)), if anything.

    Only a folder with the service's name: a command may be called from another unit, which has a folder of its own.
    """
    given = (Path(each) for each in os.environ.get("RUNTIME_DIRECTORY", "").split(":") if each.startswith("/"))
    return next((folder for folder in given if folder.name == service), None)


def _user_runtime() -> Path:
    """$XDG_RUNTIME_DIR, or where it would be, or (no login session) a private folder in /tmp."""
    session = _session()
    if session is not None:
        return session
    private = _private()
    _make(private, 0o700)
    found = private.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise HostError(f"{private} is not ours alone: set XDG_RUNTIME_DIR to a folder of yours")
    return private


def _session() -> Path | None:
    for candidate in (os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{os.geteuid()}"):
        # A relative one is to be ignored, says the XDG base directory specification.
        if candidate and candidate.startswith("/") and os.access(candidate, os.W_OK):
            return Path(candidate)
    return None


def _private() -> Path:
    return Path(f"/tmp/gapless-{os.geteuid()}")  # noqa: S108 - made for us alone, and looked at before it is used


def _make(folder: Path, mode: int) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=mode)
    except OSError as refused:
        raise HostError(f"cannot make {folder}: {refused.strerror}") from refused
    if not os.access(folder, os.W_OK | os.X_OK):
        raise HostError(f"{folder} may not be written to by uid {os.geteuid()}")
    return folder
