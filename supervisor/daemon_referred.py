"""What a configuration refers to: the files that a backup does not have, and that a service wants all the same."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.config.tables import Configuration
    from supervisor.daemon_place import Place

_PATH = re.compile(r"(?:^|(?<=[\s=:,@]))/[^\s=:,]+")
"""A full path in what a configuration says: a word, or behind what names it."""


def referred(text: bytes, configuration: Configuration, place: Place) -> Iterator[str]:
    """The full paths that a configuration names, if they are there, and the keys, there or not."""
    trusted = [each for each in (place.store.keyring, *place.store.keys) if each and each.startswith("/")]
    named = [found for said in _texts(tomllib.loads(text.decode())) for found in _PATH.findall(said)]
    ours = [place.layout.root, place.state]
    own = configuration.control.socket
    for each in dict.fromkeys([*trusted, *named]):
        path = Path(each)
        mine = each == own or any(path == folder or folder in path.parents for folder in ours)
        if each in trusted or (not mine and os.path.exists(path)):  # noqa: PTH110 - Path.exists raises EACCES
            yield each


def _texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for each in value.values():
                yield from _texts(each)
        case list():
            for each in value:
                yield from _texts(each)
