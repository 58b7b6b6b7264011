"""Whether a signature is by a key that is trusted: OpenPGP by gpgv(1), Ed25519 and minisign by `cryptography`.

Which of them it is, the signature itself tells. Whatever verifies it is given the open file that will be sealed, and
not a path by which another could be found.

* minisign (https://jedisct1.github.io/minisign/): two lines of base64, each with a comment before it. The first is of
  the BLAKE2b-512 of the file (`ED`) or of the file itself (`Ed`); the second is of the first and its trusted comment.
* Ed25519 alone: 64 bytes, as `openssl pkeyutl -sign -rawin` writes them. It does not tell by which key it is.
* Everything else is gpgv's, which knows the keyring and nothing else. Its words are those of doc/DETAILS in GnuPG: a
  good signature is a GOODSIG with a VALIDSIG; by a key that has expired or was revoked it is another word.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import mmap
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from supervisor.errors import HostError, OperatorError, ReleaseError
from supervisor.releases.manifest import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from supervisor.core.launch import Store

_LARGEST = 1 << 20
"""Bytes of a signature."""
_LARGEST_IN_MEMORY = 1 << 30
"""Bytes of a file that is signed itself and not by its digest."""
_PATIENCE = 60.0
"""Seconds."""
_COMMENT = b"untrusted comment:"
_TRUSTED = b"trusted comment: "
_RAW = 64
_KEY_LENGTH = 42
"""Bytes: `Ed`, number, key."""

_WRONG = {
    "EXPKEYSIG": "its key has expired",
    "EXPSIG": "it has expired",
    "REVKEYSIG": "its key has been revoked",
    "BADSIG": "it is of something else: the file or the signature was changed",
    "NO_PUBKEY": "it is by a key that is not in the keyring",
    "NODATA": "it is no OpenPGP signature",
}
"""What gpgv says, and what it means."""


class _Minisign(Struct, frozen=True):
    """A signature of minisign's."""

    prehashed: bool
    number: bytes
    signature: bytes
    trusted: bytes
    """The trusted comment, without what says that it is one."""
    overall: bytes


def verified(fd: int, signature: Path, store: Store) -> str:
    """By which key an open file is signed. Raises ReleaseError: it is not, or not by one that is trusted."""
    said = _read(signature)
    if said.startswith(_COMMENT):
        return _by_minisign(fd, said, store)
    if len(said) == _RAW:
        return _by_ed25519(fd, said, store)
    return _by_gpgv(fd, signature, said, store)


def _read(signature: Path) -> bytes:
    try:
        with signature.open("rb") as file:
            return file.read(_LARGEST)
    except OSError as refused:
        raise OperatorError(f"the signature {signature} cannot be read: {refused.strerror}") from refused


# ---- Ed25519


def _by_minisign(fd: int, said: bytes, store: Store) -> str:
    found = _parsed(said)
    for text in store.keys:
        if text.startswith("/"):
            continue
        raw = base64.b64decode(text)
        if len(raw) == _KEY_LENGTH and raw[2:10] == found.number:
            key = _public(raw[10:])
            _check(key, found.signature, _signed(fd, prehashed=found.prehashed))
            _check(key, found.overall, found.signature + found.trusted)
            return f"minisign {found.number[::-1].hex().upper()}"
    number = found.number[::-1].hex().upper()
    raise ReleaseError(f"the signature is by minisign's key {number}, which is not among releases.keys")


def _parsed(said: bytes) -> _Minisign:
    lines = said.split(b"\n")
    try:
        first, trusted = base64.b64decode(lines[1], validate=True), lines[2]
        overall = base64.b64decode(lines[3], validate=True)
    except (IndexError, binascii.Error):
        raise ReleaseError("the signature begins as minisign's and does not go on so: copy it again") from None
    kind, number, signature = first[:2], first[2:10], first[10:]
    whole = len(signature) == _RAW and len(overall) == _RAW and trusted.startswith(_TRUSTED)
    if kind not in {b"ED", b"Ed"} or not whole:
        raise ReleaseError("the signature begins as minisign's and does not go on so: copy it again")
    return _Minisign(kind == b"ED", number, signature, trusted.removeprefix(_TRUSTED).rstrip(b"\r"), overall)


def _by_ed25519(fd: int, said: bytes, store: Store) -> str:
    keys = [Path(text) for text in store.keys if text.startswith("/")]
    if not keys:
        raise ReleaseError("the signature is Ed25519's alone, and releases.keys has no key in PEM")
    for path in keys:
        try:
            _check(_from_pem(path), said, _signed(fd, prehashed=False))
        except ReleaseError:
            continue
        return f"ed25519 {path}"
    raise ReleaseError("the signature is of something else, or by no key of releases.keys")


def _signed(fd: int, *, prehashed: bool) -> bytes | memoryview:
    """What a signature is of."""
    if prehashed:
        os.lseek(fd, 0, os.SEEK_SET)
        with os.fdopen(os.dup(fd), "rb", buffering=0) as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=64)).digest()
    size = os.fstat(fd).st_size
    if size > _LARGEST_IN_MEMORY:
        raise ReleaseError(f"{size} bytes are too many to be signed without a digest: sign with minisign -H")
    return memoryview(mmap.mmap(fd, size, prot=mmap.PROT_READ)) if size else b""


def _check(key: Ed25519PublicKey, signature: bytes, signed: bytes | memoryview) -> None:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - large, and most stores do without it

    try:
        key.verify(signature, signed)
    except InvalidSignature:
        raise ReleaseError("the signature is of something else: the file or the signature was changed") from None


def _public(raw: bytes) -> Ed25519PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - large, and most do without it
        Ed25519PublicKey,
    )

    return Ed25519PublicKey.from_public_bytes(raw)


def _from_pem(path: Path) -> Ed25519PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - large, and most do without it
        Ed25519PublicKey,
    )
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415 - likewise

    try:
        found = load_pem_public_key(path.read_bytes())
    except OSError as refused:
        raise OperatorError(f"the key {path} cannot be read: {refused.strerror}") from refused
    except ValueError:
        raise OperatorError(f"the key {path} is no public key in PEM") from None
    if not isinstance(found, Ed25519PublicKey):
        raise OperatorError(f"the key {path} is no Ed25519 key")
    return found


# ---- OpenPGP


def _by_gpgv(fd: int, path: Path, said: bytes, store: Store) -> str:
    if store.keyring is None:
        raise ReleaseError(
            f"{path} is to be an OpenPGP signature, and there is no releases.keyring to look for its key"
        )
    if shutil.which("gpgv") is None:
        raise HostError("gpgv is not installed, and OpenPGP signatures are verified by it: apt-get install gpgv")
    if not os.access(store.keyring, os.R_OK):
        raise HostError(f"the keyring {store.keyring} is not there or cannot be read")
    words = dict(_gpgv(fd, said, store.keyring))
    wrong = next((text for word, text in _WRONG.items() if word in words), None)
    if wrong is not None:
        raise ReleaseError(f"the signature {path} does not count: {wrong}")
    if "GOODSIG" not in words or not words.get("VALIDSIG"):
        raise ReleaseError(f"the signature {path} does not count: gpgv does not call it good")
    return f"gpg {words['VALIDSIG'].split()[0]}"


def _gpgv(fd: int, signature: bytes, keyring: str) -> Iterator[tuple[str, str]]:
    """What it says of a signature: a word, and what goes with it. The words alone count, and not its exit status."""
    memory = os.memfd_create("signature", os.MFD_CLOEXEC)
    try:
        os.write(memory, signature)
        os.lseek(fd, 0, os.SEEK_SET)
        command = ["gpgv", "--status-fd", "1", "--keyring", keyring, f"/proc/self/fd/{memory}", "-"]
        said = subprocess.run(
            command,
            stdin=fd,
            pass_fds=[memory],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HostError(f"gpgv has not answered in {_PATIENCE:g} s") from None
    finally:
        os.close(memory)
    for line in said.stdout.decode(errors="replace").splitlines():
        head, _, rest = line.removeprefix("[GNUPG:] ").partition(" ")
        if line.startswith("[GNUPG:] "):
            yield head, shown(rest)
