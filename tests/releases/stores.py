"""Stores to test with."""

import hashlib
from pathlib import Path

from supervisor.core.launch import Store
from supervisor.releases.layout import Layout
from supervisor.releases.seal import Added, Offer, add


def store(root: Path, *require: str, keyring: Path | None = None, keys: tuple[str, ...] = ()) -> Store:
    return Store(root=str(root), require=require, keyring=str(keyring) if keyring else None, keys=keys)


def put(layout: Layout, offer: Offer, rules: Store | None = None) -> Added:
    layout.make()
    with layout.alone():
        return add(layout, rules or store(layout.root), offer)


def offer(
    source: Path,
    version: str = "v1",
    *,
    name: str | None = None,
    sha256: Path | str | None = None,
    signature: Path | None = None,
) -> Offer:
    given = None if sha256 is None else str(sha256)
    return Offer(source=source, version=version, name=name, sha256=given, signature=signature)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def left(layout: Layout) -> list[str]:
    """All that there is beside the folders of a store, and beside versions."""
    found = [each.name for folder in (layout.root, layout.versions) for each in folder.iterdir()]
    return sorted(set(found) - {"versions", "backups", "current", *layout.names()})
