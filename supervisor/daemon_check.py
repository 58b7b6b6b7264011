"""What can be said before anything is started: what a configuration amounts to here, and whether we could take over."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from supervisor.errors import HostError
from supervisor.linux import sockdiag
from supervisor.paths import control_socket, state_dir
from supervisor.releases.choose import choose

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor.config.source import Source


def rehearse(source: Source) -> int:
    """See that `daemon.run` could take over from the supervisor that runs; the exit status. Raises as it does."""
    from supervisor.engine import heritage  # noqa: PLC0415 - a first start does without it

    settings = source.first()
    try:
        heritage.read(state_dir(settings.service, settings.state_dir))
    except heritage.UnreadableError as odd:
        raise HostError(str(odd)) from odd
    if settings.follow is not None:
        import_module("supervisor.daemon_following")
    return 0


def check(path: Path) -> list[str]:
    """What a configuration amounts to on this host, in lines. Raises OperatorError; starts and binds nothing."""
    from supervisor.config import reading  # noqa: PLC0415 - the daemon does without the models
    from supervisor.config.summary import missing_folders, summary  # noqa: PLC0415 - likewise
    from supervisor.releases.preflight.look import look  # noqa: PLC0415 - the daemon does without what it loads
    from supervisor.releases.preflight.surroundings import of  # noqa: PLC0415 - likewise

    configuration = reading.load(path)
    control = configuration.control
    release = choose(configuration.launch())
    findings = look(release.path, of(release.launch))
    listening = ", ".join(f"{each.name} {each}" for each in configuration.addresses)
    return [
        f"{path}: all right",
        f"service:    {configuration.service.name}",
        f"release:    {release.id} ({release.path}, {release.size} bytes)",
        f"listens on: {listening}",
        *summary(configuration),
        f"control:    {control_socket(configuration.service.name, control.socket)}; {control.summary()}",
        *(f"note: {remark}" for each in configuration.addresses for remark in each.remarks),
        *(f"{each.level}: {each}" for each in findings if each.do or each.check == "go"),
        *(f"note: {remark}" for remark in missing_folders(configuration)),
        *_remarks(),
    ]


def _remarks() -> list[str]:
    if sockdiag.migrates():
        return []
    lost = "what waits in the queue of a generation that dies on probation is reset, counted and logged"
    return [f"note: net.ipv4.tcp_migrate_req is 0: {lost}; set it to 1 to have the kernel move it"]
