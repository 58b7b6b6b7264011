"""A backup: one archive of what a service is, with a manifest of its own in front by which all the rest is checked.

A tar, packed by gzip unless its name says otherwise:

* `backup.json`, the manifest: format, gapless's version, service, host, when, by whom, and of each other member its
  kind, mode, size and SHA-256;
* `config.toml`, the configuration;
* `state/history.jsonl` and `state/journal.json`, as far as there were any: the journal is one of no boot, which has
  what is remembered of releases and no process or socket (`engine.journal.for_elsewhere`);
* `manifests/V.json`, the manifest of each version that is not in it;
* `versions/V/.gapless.json` and then all that is in that version, for each that is in it.

What is read here may be by anybody, and nothing is taken from it that has not the form that it should have.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import tarfile
from contextlib import ExitStack
from hashlib import sha256
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from msgspec import Struct

from supervisor.errors import OperatorError, ReleaseError
from supervisor.releases.layout import check_version
from supervisor.releases.manifest import LARGEST, Item, check_link, check_path, hex_digest, octal, seconds, shown, typed
from supervisor.releases.manifest import NAME as MANIFEST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor.releases.layout import Layout

NAME = "backup.json"
CONFIGURATION = "config.toml"
HISTORY = "state/history.jsonl"
JOURNAL = "state/journal.json"
FORMAT = 1

_PLACES = frozenset({CONFIGURATION, HISTORY, JOURNAL})
_KINDS = {"file": tarfile.REGTYPE, "folder": tarfile.DIRTYPE, "link": tarfile.SYMTYPE}
_MODES = 0o777
_MOST = 4_000_000
"""Of each sign that makes a value of JSON: a few for each of a million members."""
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", re.ASCII)
_LEVEL = 6
"""Of gzip: what it takes and what it saves are about even."""


class BackupError(ReleaseError):
    """A backup that is damaged, or that is none."""


class Backup(Struct, frozen=True, kw_only=True):
    """The manifest of a backup."""

    gapless: str
    """The version of who has written it."""
    service: str
    host: str
    made: float
    """Seconds since 1970."""
    uid: int
    user: str
    config: str
    """The full path of the configuration."""
    root: str
    """Of the store."""
    current: str | None
    """The version that `current` led to."""
    owner: str | None
    """By name, who the state belonged to; None: there was none."""
    refers: tuple[str, ...]
    """Full paths that the configuration names, and that are not in the backup."""
    members: tuple[Item, ...]
    """All but the manifest itself, in the order of the archive."""

    @property
    def versions(self) -> tuple[str, ...]:
        """Those that are in it, the oldest first."""
        return tuple(place[0] for each in self.members if (place := in_version(each.path)) and place[1] == MANIFEST)

    @property
    def absent(self) -> tuple[str, ...]:
        """Those that were in the store, and of which it has the manifest alone."""
        return tuple(name for each in self.members if (name := of_absent(each.path)) is not None)


def manifest_of(version: str) -> str:
    """Where the manifest of a version is that is in the backup."""
    return f"versions/{version}/{MANIFEST}"


def absent_manifest_of(version: str) -> str:
    """Where that of one is that is not."""
    return f"manifests/{version}.json"


def in_version(path: str) -> tuple[str, str] | None:
    """The version that a member is of, and where in that it is; None: it is of none."""
    head, _, rest = path.partition("/")
    version, _, inner = rest.partition("/")
    return (version, inner) if head == "versions" and inner else None


def of_absent(path: str) -> str | None:
    """The version whose manifest alone a member is; None: it is none of these."""
    head, _, rest = path.partition("/")
    return rest.removesuffix(".json") if head == "manifests" and rest.endswith(".json") else None


# ---- its manifest


def to_json(backup: Backup) -> bytes:
    """As it is written."""
    said = {
        "format": FORMAT,
        "gapless": backup.gapless,
        "service": backup.service,
        "host": backup.host,
        "made": backup.made,
        "uid": backup.uid,
        "user": backup.user,
        "config": backup.config,
        "root": backup.root,
        "current": backup.current,
        "owner": backup.owner,
        "refers": list(backup.refers),
        "members": [_said(each) for each in backup.members],
    }
    return json.dumps({**said, "digest": digest_of(said)}, indent=1).encode() + b"\n"


def digest_of(said: Mapping[str, Any]) -> str:
    """The SHA-256 of all that a manifest says but that: an archive that is not packed has no checksum of its own."""
    rest = {key: value for key, value in said.items() if key != "digest"}
    return sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def from_json(text: bytes) -> Backup:
    """What was written. Raises BackupError for whatever has another form."""
    if any(text.count(sign) > _MOST for sign in (b"{", b"[", b",")):
        raise BackupError("the backup's manifest has more in it than any backup has")
    try:
        return _backup(json.loads(text))
    except BackupError:
        raise
    except OperatorError as odd:
        raise BackupError(f"the backup's manifest is damaged: {odd}") from None
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as odd:
        why = f"{type(odd).__name__}: {shown(str(odd))}"
        raise BackupError(f"the backup's manifest is damaged ({why}): copy it again") from None


def _backup(said: Mapping[str, Any]) -> Backup:
    if said["format"] != FORMAT:
        newer = type(said["format"]) is int and said["format"] > FORMAT
        what = "a newer version of gapless: restore it by that" if newer else "no version of gapless"
        raise BackupError(f"the backup is of {what} (format {shown(repr(said['format']))})")
    if digest_of(said) != said["digest"]:
        raise BackupError("the backup's manifest is damaged: its digest is that of another: copy it again")
    members = tuple(_item(each) for each in said["members"])
    if len({each.path for each in members}) != len(members):
        raise BackupError("the backup's manifest is damaged: it names something twice")
    if CONFIGURATION not in {each.path for each in members}:
        raise BackupError("the backup's manifest is damaged: it has no configuration")
    current, owner = said["current"], said["owner"]
    return Backup(
        gapless=typed(str, said["gapless"]),
        service=typed(str, said["service"]),
        host=typed(str, said["host"]),
        made=seconds(said["made"]),
        uid=typed(int, said["uid"]),
        user=typed(str, said["user"]),
        config=_full_path(said["config"]),
        root=_full_path(said["root"]),
        current=None if current is None else check_version(typed(str, current)),
        owner=None if owner is None else _user(owner),
        refers=tuple(_full_path(each) for each in said["refers"]),
        members=members,
    )


def is_user(name: str) -> bool:
    """Whether it can be told to people as a part of a command. Others are told by number."""
    return _USER.fullmatch(name) is not None


def _user(said: object) -> str:
    name: str = typed(str, said)
    if not is_user(name):
        raise ValueError(f"{shown(name)} is no user's name")
    return name


def _full_path(text: object) -> str:
    path: str = typed(str, text)
    if not path.startswith("/") or not path.isprintable():
        raise ValueError(f"{shown(path)} is no full path")
    return path


def _said(item: Item) -> dict[str, Any]:
    about: dict[str, Any] = {"path": item.path, "kind": item.kind, "mode": f"{item.mode:04o}"}
    if item.kind == "file":
        return {**about, "size": item.size, "sha256": item.sha256}
    return {**about, "target": item.target} if item.kind == "link" else about


def _item(said: Mapping[str, Any]) -> Item:
    path, kind, mode = typed(str, said["path"]), typed(str, said["kind"]), octal(said["mode"])
    inner = _checked_place(path)
    if mode & ~_MODES:
        raise ValueError(f"{shown(path)} has mode {mode:o}")
    if kind == "file" and typed(int, said["size"]) >= 0:
        return Item(path=path, kind=kind, mode=mode, size=said["size"], sha256=hex_digest(said["sha256"]))
    if inner is not None and kind == "folder":
        return Item(path=path, kind=kind, mode=mode)
    if inner is not None and kind == "link":
        return Item(path=path, kind=kind, mode=mode, target=check_link(inner, typed(str, said["target"])))
    raise ValueError(f"{shown(path)} is {shown(kind)}")


def _checked_place(path: str) -> str | None:
    """Where in a version something is; None: it is something else that a backup has. Raises OperatorError."""
    place, absent = in_version(path), of_absent(path)
    if place is not None:
        check_version(place[0])
        return None if place[1] == MANIFEST else check_path(place[1])
    if absent is not None:
        check_version(absent)
    elif path not in _PLACES:
        raise BackupError(f"{shown(path)} is nothing that a backup has")
    return None


# ---- how it is written


class Digested(io.RawIOBase):
    """A stream of which the digest is taken as it goes by, from its beginning on."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = sha256()
        self._count = 0

    @property
    def sha256(self) -> str:
        """Of what has gone by."""
        return self._digest.hexdigest()

    def tell(self) -> int:
        """How much has gone by."""
        return self._count

    def seek(self, to: int, whence: int = io.SEEK_SET, /) -> int:
        """To its beginning alone: what has gone by is forgotten."""
        if (to, whence) != (0, io.SEEK_SET):
            raise io.UnsupportedOperation("it goes forward alone")
        self._digest, self._count = sha256(), 0
        return self._stream.seek(0)

    def read(self, size: int = -1, /) -> bytes:
        """What the stream gives."""
        piece = self._stream.read(size)
        self._digest.update(piece)
        self._count += len(piece)
        return piece

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - what has the form of bytes
        """Write all of it."""
        piece = bytes(data)
        self._stream.write(piece)
        self._digest.update(piece)
        self._count += len(piece)
        return len(piece)


def write(out: BinaryIO, backup: Backup, small: Mapping[str, bytes], layout: Layout, *, packed: bool) -> str:
    """Write the archive, and say its SHA-256. `small` has what is not read from a version's folder, by path.

    Raises ReleaseError if a file is not what the manifest says, or OSError; some of it is written then.
    """
    digested = Digested(out)
    stream = cast("BinaryIO", digested)
    with ExitStack() as stack:
        if packed:
            stream = cast(
                "BinaryIO", stack.enter_context(gzip.GzipFile("", "wb", _LEVEL, stream, mtime=int(backup.made)))
            )
        tar = stack.enter_context(tarfile.TarFile(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT))
        text = to_json(backup)
        if len(text) > LARGEST:
            raise OperatorError(f"{len(backup.members)} files are too many for one backup: choose fewer --releases")
        front, held = Item(path=NAME, mode=0o600, size=len(text)), {NAME: text, **small}
        for each in (front, *backup.members):
            _put(tar, _info(each, backup.made), each, held, layout)
            vars(tar)["members"] = []  # it would keep a list of all
    return digested.sha256


def _info(item: Item, made: float) -> tarfile.TarInfo:
    info = tarfile.TarInfo(item.path)
    info.type, info.size, info.linkname, info.mtime = _KINDS[item.kind], item.size, item.target, int(made)
    info.mode = _MODES if item.kind == "link" else item.mode
    return info


def _put(tar: tarfile.TarFile, info: tarfile.TarInfo, item: Item, small: Mapping[str, bytes], layout: Layout) -> None:
    if item.kind != "file" or item.path in small:
        tar.addfile(info, io.BytesIO(small[item.path]) if item.kind == "file" else None)
        return
    path = layout.root / item.path
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        content = Digested(file)
        try:
            tar.addfile(info, cast("BinaryIO", content))
        except OSError as short:
            if short.errno is not None:
                raise
            raise ReleaseError(f"{path} is being changed: {short}") from None
    if content.sha256 != item.sha256:
        raise ReleaseError(f"{path} is being changed: it is not what was verified a moment before")
