"""Versions go: by name, or all but the newest and those that are in use. What is needed for the way back stays.

A version stops being one by a rename, and is destroyed after that: killed in between, it leaves something that the next
one sweeps away, and never half a version.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor.errors import OperatorError
from supervisor.releases.layout import sync_folder
from supervisor.releases.seal import GONE, destroy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor.releases.layout import Layout


def remove(layout: Layout, version: str, kept: Mapping[str, str]) -> None:
    """Remove a version. The lock is held. `kept` says why some have to stay. Raises OperatorError or OSError."""
    folder = layout.folder(version)
    if not folder.is_dir():
        raise OperatorError(f"there is no version {version} in {layout.versions}")
    if version in kept:
        raise OperatorError(f"{version} stays: it {kept[version]}")
    gone = layout.versions / f"{GONE}{version}"
    folder.rename(gone)
    sync_folder(layout.versions)
    destroy(gone)


def prune(layout: Layout, keep: int, kept: Mapping[str, str]) -> list[str]:
    """Remove all but the newest `keep` and those that have to stay; which those were. The lock is held."""
    names = layout.names()
    going = [name for name in names[: max(0, len(names) - keep)] if name not in kept]
    for name in going:
        remove(layout, name, kept)
    return going


def running(layout: Layout) -> set[str]:
    """The versions that a process of this host runs, or has its working folder in, as far as that may be looked at."""
    versions = Path(os.path.realpath(layout.versions))
    found = set()
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            found |= {name for link in ("exe", "cwd") if (name := _version(versions, f"{entry.path}/{link}"))}
    return found


def _version(versions: Path, link: str) -> str | None:
    try:
        leads_to = Path(os.readlink(link))  # noqa: PTH115 - of each process, and no Path is wanted of most
    except OSError:
        return None
    return leads_to.relative_to(versions).parts[0] if versions in leads_to.parents else None
