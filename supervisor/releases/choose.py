"""From a command to a release where there is a store: which version it means, and that this is what it was sealed as.

Every word of the command that leads through `current` is bound to the version that is meant, the program itself and its
arguments alike: a server that is started again after `current` has moved finds what it had, and never a mix.

A version without a manifest, and a `current` that leads elsewhere, are run as they are where nothing is required. What
has a manifest is run as that says or not at all.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from supervisor.core.model import ANYWHERE
from supervisor.core.value import replace
from supervisor.errors import HostError, OperatorError, ReleaseError
from supervisor.releases.layout import Layout
from supervisor.releases.manifest import read
from supervisor.releases.pin import pin, pin_again, recall
from supervisor.releases.verify import check_policy, verify

if TYPE_CHECKING:
    from supervisor.core.launch import Launch, Store
    from supervisor.core.model import Release
    from supervisor.releases.manifest import Manifest

_SHOWN = 8


class Choice(Struct, frozen=True):
    """What a command means now."""

    release: Release
    current: str | None
    """The version that `current` leads to; None: to none, or there is no store."""


def leads_to(launch: Launch) -> str | None:
    """The version that `current` leads to now; anywhere, where there is no store."""
    return ANYWHERE if launch.store is None else Layout(launch.store.root).current()


def choose(launch: Launch, version: str | None = None) -> Release:
    """The release that this command means, with `version` in place of what `current` leads to if it names one.

    Takes a while: all of a sealed version is read. Raises ReleaseError.
    """
    store = launch.store
    if store is None:
        if version is not None:
            raise ReleaseError(f"{version} cannot be had by its name: the configuration has no [releases] with a root")
        return pin(launch)
    layout = Layout(store.root)
    try:
        named = layout.current() if version is None else _there(layout, version)
    except (OperatorError, HostError) as refused:
        raise ReleaseError(str(refused)) from None
    if named is not None:
        return _of_version(layout, store, launch, named)
    if store.require:
        raise ReleaseError(
            f"{layout.current_link} leads to no version in {layout.versions}, and releases.require asks for one that "
            "was checked: gapless release add"
        )
    return pin(launch)


def choose_again(release: Release) -> Release:
    """What is run now in a release's name: a sealed one itself (`exact` sees to it), else what stands at its path.

    Raises ReleaseError.
    """
    return release if release.sealed is not None else replace(pin_again(release), version=release.version)


def recall_any(release: Release) -> Release:
    """A release that served before, to serve again. Raises ReleaseError if its files are gone or have changed."""
    if release.version is None or release.launch.store is None:
        return recall(release)
    if release.sealed is None:
        return replace(recall(release), version=release.version, id=release.id)
    layout = Layout(release.launch.store.root)
    try:
        return _sealed(layout, release.launch, release.version, release.sealed)
    except ReleaseError as gone:
        raise ReleaseError(f"release {release.id} cannot be returned to: {gone}") from gone


def _there(layout: Layout, version: str) -> str:
    """A version that is asked for by name. Raises OperatorError."""
    if not layout.folder(version).is_dir():
        known = ", ".join(layout.names()[-_SHOWN:]) or "none"
        raise ReleaseError(f"there is no version {version} in {layout.versions}: want one of those there ({known})")
    if not layout.may_point():
        raise ReleaseError(
            f"gapless may not move {layout.current_link}: it has to be a link, in a folder that gapless may write to"
        )
    return version


def _of_version(layout: Layout, store: Store, launch: Launch, version: str) -> Release:
    bound = bind(launch, layout, version)
    folder = layout.folder(version)
    manifest = read(folder)
    if manifest is not None:
        check_policy(folder, manifest, store)
        return _sealed(layout, bound, version, manifest.digest)
    if store.require:
        raise ReleaseError(f"{folder} has no manifest, and releases.require asks for checks: gapless release add")
    return replace(pin(bound), version=version)


def sealed(layout: Layout, store: Store, version: str) -> Manifest:
    """The manifest of a version that is what that says, and has passed what is required. Raises ReleaseError."""
    folder = layout.folder(version)
    manifest = read(folder)
    if manifest is None:
        raise ReleaseError(
            f"{folder} has no manifest: it was put there by hand" if folder.is_dir() else "it is not there"
        )
    check_policy(folder, manifest, store)
    verify(folder, manifest)
    return manifest


def _sealed(layout: Layout, launch: Launch, version: str, digest: str) -> Release:
    """A version as it was sealed under that digest."""
    folder = layout.folder(version)
    manifest = read(folder)
    if manifest is None or manifest.digest != digest or manifest.version != version:
        raise ReleaseError(f"{folder} is another by now than it was")
    seen = verify(folder, manifest)
    found = pin(launch)
    real = Path(found.path)
    name = str(real.relative_to(folder.resolve())) if real.is_relative_to(folder.resolve()) else ""
    there = seen.get(name)
    if name and (there is None or (there.device, there.inode) != (found.device, found.inode)):
        raise ReleaseError(f"{real} is another by now than it was a moment before")
    return replace(
        found,
        id=f"{version}+{digest[:8]}",
        version=version,
        sealed=digest,
        sha256=there.sha256 if there else None,
        ctime_ns=there.ctime_ns if there else None,
    )


def bind(launch: Launch, layout: Layout, version: str) -> Launch:
    """The same, with the version's folder wherever `current` was. A name in the middle of a word is left alone."""
    through = re.compile(rf"(?<![^=:,]){re.escape(str(layout.current_link))}(?=/|$)")
    to = str(layout.folder(version)).replace("\\", r"\\")

    def bound(word: str) -> str:
        return through.sub(to, word)

    return replace(
        launch,
        argv=tuple(map(bound, launch.argv)),
        directory=bound(launch.directory),
        environment=tuple((name, bound(value)) for name, value in launch.environment),
    )
