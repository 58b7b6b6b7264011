"""The manifest of a version: what is in it, file by file, where it came from, and what it was checked by.

It lies in the version's folder as `.gapless.json`, written by us, and read as what anybody may have written: nothing
is taken from it that has not the form that it should have.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from supervisor.errors import ReleaseError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME = ".gapless.json"
FORMAT = 1

LARGEST = 64 << 20
"""Bytes of a manifest: a file in it takes some 200."""
_LATEST = 1e11
"""Seconds since 1970: some thousand years."""
LONGEST_PATH = 1024
"""Bytes of a path within a version."""
_LONGEST_NAME = 255
"""NAME_MAX."""
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MODES = frozenset({0o444, 0o555})
_KINDS = frozenset({"file", "folder", "link"})

SHA256, SIGNATURE = "sha256", "signature"
"""What a release can have been checked by."""


class ManifestError(ReleaseError):
    """A manifest that is damaged, or that is none."""


class Item(Struct, frozen=True, kw_only=True):
    """One thing in a version."""

    path: str
    """Below the version's folder, with / between its parts."""
    kind: str = "file"
    """file, folder or link"""
    mode: int = 0o444
    size: int = 0
    sha256: str = ""
    """Of a file."""
    target: str = ""
    """Of a link."""


class Check(Struct, frozen=True, kw_only=True):
    """What a release was found to be, before it was sealed."""

    kind: str
    """sha256 or signature"""
    by: str
    """The digest; the key, as whoever verified it calls it."""


class Manifest(Struct, frozen=True, kw_only=True):
    """A version as it was sealed."""

    version: str
    items: tuple[Item, ...]
    """By path."""
    origin: str
    """The full path of what was added."""
    origin_sha256: str | None
    """Its digest, if it was a file."""
    uid: int
    user: str
    added: float
    """Seconds since 1970."""
    checks: tuple[Check, ...] = ()

    @property
    def digest(self) -> str:
        """The SHA-256 of all that is in it, by name: the same for the same content, whoever has added it."""
        said = [[each.path, each.kind, each.mode, each.size, each.sha256, each.target] for each in self.items]
        return hashlib.sha256(json.dumps(said, separators=(",", ":")).encode()).hexdigest()

    @property
    def checked_by(self) -> frozenset[str]:
        """The kinds of checks that it has passed."""
        return frozenset(each.kind for each in self.checks)

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(each.size for each in self.items)

    def find(self, path: str) -> Item | None:
        """What is at a path."""
        return next((each for each in self.items if each.path == path), None)


def check_path(path: str) -> str:
    """A path within a version, as it may be. Raises ReleaseError, and says why not.

    Relative, without `.` and `..`, printable, not too long, and not the manifest's own.
    """
    parts = path.split("/")
    if path.startswith("/"):
        raise ReleaseError(f"{shown(path)} is a full path: want paths within the release")
    if ".." in parts:
        raise ReleaseError(f"{shown(path)} leads out of the release (..)")
    if "" in parts or "." in parts:
        raise ReleaseError(f"{shown(path)} is no plain path")
    if not path.isprintable():
        raise ReleaseError(f"{shown(path)} has characters in its name that cannot be shown, or that are not UTF-8")
    if len(path.encode()) > LONGEST_PATH or max(len(part.encode()) for part in parts) > _LONGEST_NAME:
        raise ReleaseError(f"{shown(path)} is too long: want names of at most 255 bytes, and paths of {LONGEST_PATH}")
    if path == NAME:
        raise ReleaseError(f"{path} is the name of gapless's own manifest: leave it out of the release")
    return path


def check_link(path: str, target: str) -> str:
    """Where a link at that path may lead: to somewhere within the version. Raises ReleaseError."""
    if target.startswith("/"):
        raise ReleaseError(f"{shown(path)} is a link to {shown(target)}: want links within the release, and relative")
    if not target or not target.isprintable() or len(target.encode()) > LONGEST_PATH:
        raise ReleaseError(f"{shown(path)} is a link to {shown(target)!r}, which is no plain path")
    parts = target.split("/")
    up = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    if up > path.count("/"):
        raise ReleaseError(f"{shown(path)} is a link to {shown(target)}, which leads out of the release")
    if ".." in parts[up:]:  # behind a link, .. is not where it seems to be
        raise ReleaseError(f"{shown(path)} is a link to {shown(target)}: want .. at its beginning alone")
    return target


def shown(text: str) -> str:
    """A name from elsewhere, fit to be shown."""
    plain = "".join(each if each.isprintable() else "?" for each in text)
    return plain if len(plain) <= 120 else f"{plain[:60]}...{plain[-57:]}"  # noqa: PLR2004 - what fits a line


def to_json(manifest: Manifest) -> bytes:
    """As it is written."""
    said = {
        "format": FORMAT,
        "version": manifest.version,
        "digest": manifest.digest,
        "origin": manifest.origin,
        "origin_sha256": manifest.origin_sha256,
        "uid": manifest.uid,
        "user": manifest.user,
        "added": manifest.added,
        "checks": [{"kind": each.kind, "by": each.by} for each in manifest.checks],
        "items": [_said(each) for each in manifest.items],
    }
    return json.dumps(said, indent=1).encode() + b"\n"


def read(folder: Path) -> Manifest | None:
    """The manifest of a version; None if it has none. Raises ManifestError."""
    path = folder / NAME
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(fd, "rb") as file:  # noqa: PTH123 - of a file that is open
            text = file.read(LARGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as refused:
        raise ManifestError(f"{path} cannot be read: {refused.strerror}") from refused
    try:
        return from_json(text)
    except ManifestError as damaged:
        raise ManifestError(f"{path}: {damaged}") from None


def from_json(text: bytes) -> Manifest:
    """What was written. Raises ManifestError for whatever has another form."""
    if len(text) > LARGEST:
        raise ManifestError(f"it is larger than {LARGEST} bytes, and no manifest")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        raise ManifestError("it is no JSON: add the release again") from None
    try:
        return _manifest(said)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as odd:
        raise ManifestError(f"it is damaged ({type(odd).__name__}: {shown(str(odd))}): add the release again") from None
    except ManifestError:
        raise
    except ReleaseError as odd:
        raise ManifestError(f"it is damaged: {odd}") from None


def _manifest(said: Mapping[str, Any]) -> Manifest:
    if said["format"] != FORMAT:
        raise ManifestError(f"it is of another version of gapless (format {shown(repr(said['format']))})")
    items = tuple(_item(each) for each in said["items"])
    paths = [each.path for each in items]
    if sorted(set(paths)) != paths:
        raise ManifestError("it is damaged: its paths are not in order, or not once each")
    origin_sha256 = said["origin_sha256"]
    found = Manifest(
        version=typed(str, said["version"]),
        items=items,
        origin=typed(str, said["origin"]),
        origin_sha256=None if origin_sha256 is None else hex_digest(origin_sha256),
        uid=typed(int, said["uid"]),
        user=typed(str, said["user"]),
        added=seconds(said["added"]),
        checks=tuple(Check(kind=typed(str, each["kind"]), by=typed(str, each["by"])) for each in said["checks"]),
    )
    if found.digest != said["digest"]:
        raise ManifestError("it is damaged: its digest is not that of what it lists")
    return found


def _item(said: Mapping[str, Any]) -> Item:
    path, kind, mode = check_path(typed(str, said["path"])), typed(str, said["kind"]), octal(said["mode"])
    match kind:
        case "file" if mode in _MODES and typed(int, said["size"]) >= 0:
            return Item(path=path, kind=kind, mode=mode, size=said["size"], sha256=hex_digest(said["sha256"]))
        case "folder":
            return Item(path=path, kind=kind, mode=_FOLDER_MODE)
        case "link":
            return Item(path=path, kind=kind, mode=0, target=check_link(path, typed(str, said["target"])))
        case _:
            raise ValueError(f"{path} is {kind} of mode {mode:o}")


_FOLDER_MODE = 0o555


def _said(item: Item) -> dict[str, Any]:
    about: dict[str, Any] = {"path": item.path, "kind": item.kind, "mode": f"{item.mode:04o}"}
    match item.kind:
        case "file":
            return {**about, "size": item.size, "sha256": item.sha256}
        case "link":
            return {**about, "target": item.target}
        case _:
            return about


def octal(text: object) -> int:
    """The mode that a text says. Raises TypeError or ValueError."""
    return int(typed(str, text), 8)


def hex_digest(text: object) -> str:
    """A SHA-256. Raises ValueError for anything else."""
    if not isinstance(text, str) or not _DIGEST.fullmatch(text):
        raise ValueError("want a SHA-256")
    return text


def typed(kind: type, value: Any) -> Any:  # noqa: ANN401 - of that type
    """The value, if it is of that very type. Raises TypeError."""
    if type(value) is not kind:
        raise TypeError(f"want {kind.__name__}")
    return value


def seconds(said: object) -> float:
    """A time since 1970. Raises ValueError for anything else: JSON of Python's has Infinity, too."""
    number = float(said) if isinstance(said, (int, float)) else -1.0
    if not 0.0 <= number < _LATEST:
        raise ValueError(f"{shown(repr(said))} is no time")
    return number
