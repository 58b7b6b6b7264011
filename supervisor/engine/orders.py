"""From how a server is to be run to the command of a held process: for one that is made now, or made ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.engine import contract
from supervisor.engine.instances import Speaker
from supervisor.linux import names
from supervisor.linux.limits import Limits
from supervisor.linux.spawn import Command

if TYPE_CHECKING:
    import pwd
    from collections.abc import Sequence

    from supervisor.core.launch import Launch


def speaker(generation: int, run: int, launch: Launch, user: pwd.struct_passwd | None) -> Speaker:
    """Who will speak on a channel. `user` is the launch's, as the host knows it."""
    return Speaker(generation, run, user.pw_uid if user else None, launch.dialects)


def command_of(
    launch: Launch,
    user: pwd.struct_passwd | None,
    run: contract.Run,
    sockets: Sequence[contract.Handed],
    open_files: tuple[int, int],
) -> Command:
    """The whole of it. `open_files` is the limit, soft and hard, where the launch has none. Raises HostError."""
    resources = {"nofile": open_files} | {name: (soft, hard) for name, soft, hard in launch.limits}
    return Command(
        argv=contract.command(launch.argv, sockets),
        environment=dict(launch.environment) | contract.environment(run, sockets, launch.dialects),
        directory=launch.directory,
        identity=names.identity(user, launch.group, launch.groups, launch.capabilities),
        umask=launch.umask,
        limits=Limits(
            resources=[(name, *both) for name, both in resources.items()],
            nice=launch.nice,
            oom_score_adj=launch.oom_score_adj,
        ),
        stdin=next((each.fd for each in sockets if each.name == launch.stdin), None),
        stdout=launch.stdout,
        stderr=launch.stderr,
    )
