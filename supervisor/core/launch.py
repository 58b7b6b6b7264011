"""How a server is run, as it was configured."""

from __future__ import annotations

from msgspec import Struct


class Listen(Struct, frozen=True, kw_only=True):
    """A listener as it is configured. What it means to the kernel is `linux.address`'s affair."""

    name: str
    address: str
    mode: str = "reuseport"
    backlog: int = 4096
    v6only: bool | None = None
    options: tuple[tuple[str, str | int], ...] = ()
    """What only some kinds of listeners have, by key."""


class Store(Struct, frozen=True, kw_only=True):
    """Where releases are kept, and what must have been shown of one before it is run."""

    root: str
    """The folder that has `versions`, `current` and `backups`."""
    require: tuple[str, ...] = ()
    """What a release must have been checked by: sha256, signature."""
    keyring: str | None = None
    """The file of OpenPGP keys that a signature may be by (gpgv)."""
    keys: tuple[str, ...] = ()
    """The Ed25519 keys that one may be by: minisign's, as text, or files of PEM."""
    keep: int = 5
    """How many versions a prune leaves, beside those that are in use."""


class Launch(Struct, frozen=True, kw_only=True, cache_hash=True):
    """How a server is run: the whole of what was configured, with the file pinned."""

    argv: tuple[str, ...]
    listen: tuple[Listen, ...] = ()
    """Its listeners, in the order of its file descriptors."""
    environment: tuple[tuple[str, str], ...] = ()
    directory: str = "/"
    user: str | None = None
    group: str | None = None
    umask: int | None = None
    groups: tuple[str, ...] | None = None
    """Supplementary ones; None: the user's own."""
    capabilities: tuple[str, ...] | None = None
    """By their names without the prefix; None: the supervisor's own ambient ones."""
    limits: tuple[tuple[str, int, int], ...] = ()
    """RLIMIT name without its prefix, soft, hard; -1 is unlimited."""
    nice: int | None = None
    oom_score_adj: int | None = None
    dialects: tuple[str, ...] = ()
    """In which others' words, beside ours, it is told what it has."""
    stdin: str | None = None
    """The listener that is its standard input, too."""
    stdout: str | None = None
    """A file that output is appended to; None: wherever the supervisor's goes."""
    stderr: str | None = None
    store: Store | None = None
    """Where its releases are kept; None: wherever the command says."""
