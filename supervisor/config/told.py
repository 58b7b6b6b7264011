"""What a child is told by configuration, where it depends on the listeners: templates, standard input, dialects.

Each function raises ValueError with key, value and what would do.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from supervisor.config.values import DIALECTS
from supervisor.linux.spawn import FIRST_FD, LAST_FOR_STDIN
from supervisor.linux.template import asked

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from supervisor.core.launch import Listen

_OF_SERVER_STARTER = ";="
"""What its readers split at: the items, and each into an address and a number."""


def check_names(command: Sequence[str], stdin: str | None, listens: Sequence[Listen]) -> None:
    """Listeners that a command's words, or its standard input, name have to be there."""
    by_name = {each.name: each for each in listens}
    known = ", ".join(by_name)
    for kind, name in asked(command):
        template = f"{{{kind}:{name}}}"
        if name not in by_name:
            raise ValueError(
                f"service.command: {template} names no listener: known are {known}. "
                f"If it is to stay as it is, write {{{template}}}"
            )
        if kind == "port" and by_name[name].address.startswith("unix:"):
            raise ValueError(f"service.command: {template} is of a Unix socket, which has no port: want {{fd:{name}}}")
    if stdin is None:
        return
    if stdin not in by_name:
        raise ValueError(f"service.stdin = {json.dumps(stdin)}: want the name of a listener: known are {known}")
    most = LAST_FOR_STDIN - FIRST_FD + 1
    if list(by_name).index(stdin) >= most:
        raise ValueError(f"service.stdin = {json.dumps(stdin)}: want one of the first {most} listeners: move it up")


def check_dialects(dialects: Iterable[str], environment: Iterable[str], listens: Iterable[Listen]) -> None:
    """What a dialect cannot say, and what would contradict it."""
    for dialect in dialects:
        for name in environment:
            if name.startswith(DIALECTS[dialect]):
                raise ValueError(f'service.environment.{name}: is set by gapless itself for "{dialect}": leave it out')
    if "server-starter" not in dialects:
        return
    for each in listens:
        if each.address.startswith("unix:@"):
            raise ValueError(
                f"listen: address = {json.dumps(each.address)}: Server::Starter has no abstract sockets: want a path, "
                'or service.dialects without "server-starter"'
            )
        if set(each.address) & set(_OF_SERVER_STARTER):
            raise ValueError(
                f"listen: address = {json.dumps(each.address)}: want it without ; and =, at which readers of "
                "SERVER_STARTER_PORT split"
            )
