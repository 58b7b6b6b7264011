"""Signatures: good ones by each way, and each that does not count refused for what is wrong with it."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from supervisor.core.launch import Store
from supervisor.errors import OperatorError, ReleaseError
from supervisor.releases.layout import Layout
from supervisor.releases.signatures import verified
from tests.releases.stores import left, offer, put, sha256, store

needs_gpg = pytest.mark.skipif(
    not (shutil.which("gpg") and shutil.which("gpgv")), reason="Debian's gpg and gpgv are not installed"
)
LONG_AGO = "20200102T000000"
"""When a key was made that was good for a day."""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "server"
    path.write_bytes(b"#!/bin/sh\necho v1\n")
    path.chmod(0o755)
    return path


def key_of(program: Path, signature: Path, rules: Store) -> str:
    fd = os.open(program, os.O_RDONLY)
    try:
        return verified(fd, signature, rules)
    finally:
        os.close(fd)


def refused(program: Path, signature: Path, rules: Store) -> str:
    with pytest.raises(ReleaseError) as error:
        key_of(program, signature, rules)
    return str(error.value)


# ---- OpenPGP


@dataclass(frozen=True)
class Gpg:
    """A home of gpg's, with keys that have no passphrase."""

    home: Path

    def __call__(self, *words: str | Path) -> bytes:
        command = ["gpg", "--homedir", self.home, "--batch", "--quiet", *words]
        return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout

    def keyring(self, user: str) -> Path:
        path = self.home / f"{user}.gpg"
        path.write_bytes(self("--export", user))
        return path

    def sign(self, user: str, path: Path, *options: str) -> Path:
        made = path.with_name(f"{path.name}.{user}.asc")
        made.write_bytes(self(*options, "--local-user", user, "--armor", "--detach-sign", "--output", "-", path))
        return made


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gpg]:
    home = Path(tempfile.mkdtemp(prefix="g."))  # the agent's socket has to have a short name
    made = Gpg(home)
    generate = ("--passphrase", "", "--quick-gen-key")
    made(*generate, "ours", "ed25519", "sign", "never")
    made(*generate, "theirs", "ed25519", "sign", "never")
    made("--faked-system-time", LONG_AGO, *generate, "expired", "ed25519", "sign", "1d")
    yield made
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False, timeout=60)
    shutil.rmtree(home, ignore_errors=True)


@needs_gpg
def test_one_by_gpg(gpg: Gpg, program: Path, tmp_path: Path) -> None:
    rules = store(tmp_path, keyring=gpg.keyring("ours"))
    armoured = gpg.sign("ours", program)
    key = key_of(program, armoured, rules)
    assert key.startswith("gpg ")
    assert key.removeprefix("gpg ") in gpg("--with-colons", "--list-keys", "ours").decode()
    binary = tmp_path / "server.sig"
    binary.write_bytes(gpg("--local-user", "ours", "--detach-sign", "--output", "-", program))
    assert key_of(program, binary, rules) == key


@needs_gpg
def test_one_by_another_key_of_gpgs(gpg: Gpg, program: Path, tmp_path: Path) -> None:
    rules = store(tmp_path, keyring=gpg.keyring("ours"))
    assert "by a key that is not in the keyring" in refused(program, gpg.sign("theirs", program), rules)


@needs_gpg
def test_one_by_a_key_that_has_expired(gpg: Gpg, program: Path, tmp_path: Path) -> None:
    rules = store(tmp_path, keyring=gpg.keyring("expired"))
    signature = gpg.sign("expired", program, "--faked-system-time", LONG_AGO)
    assert "its key has expired" in refused(program, signature, rules)


@needs_gpg
def test_one_of_something_else(gpg: Gpg, program: Path, tmp_path: Path) -> None:
    rules = store(tmp_path, keyring=gpg.keyring("ours"))
    signature = gpg.sign("ours", program)
    program.write_bytes(program.read_bytes() + b"#")
    assert "it is of something else" in refused(program, signature, rules)


@needs_gpg
def test_what_is_no_signature(gpg: Gpg, program: Path, tmp_path: Path) -> None:
    rules = store(tmp_path, keyring=gpg.keyring("ours"))
    for content in (b"", b"hello", os.urandom(100)):
        path = tmp_path / "odd"
        path.write_bytes(content)
        assert "does not count" in refused(program, path, rules)


def test_where_there_is_no_keyring(program: Path, tmp_path: Path) -> None:
    (tmp_path / "server.asc").write_text("-----BEGIN PGP SIGNATURE-----")
    assert "there is no releases.keyring" in refused(program, tmp_path / "server.asc", store(tmp_path))


@needs_gpg
def test_the_file_of_digests_is_what_is_signed(gpg: Gpg, program: Path, tmp_path: Path) -> None:
    """As it is usually published: SHA256SUMS and SHA256SUMS.asc."""
    layout = Layout(tmp_path / "web")
    sums = tmp_path / "SHA256SUMS"
    sums.write_text(f"{sha256(program)}  server\n")
    signature = gpg.sign("ours", sums).rename(tmp_path / "SHA256SUMS.asc")
    rules = store(layout.root, "sha256", "signature", keyring=gpg.keyring("ours"))
    found = put(layout, offer(program, sha256=sums, signature=signature), rules).manifest
    assert found.checked_by == {"sha256", "signature"}
    build = tmp_path / "build"
    build.mkdir()
    shutil.copy(program, build / "server")
    assert put(layout, offer(build, "v2", sha256=sums, signature=signature), rules).manifest.digest == found.digest
    sums.write_text(f"{'0' * 64}  server\n")
    with pytest.raises(ReleaseError, match="it is of something else"):
        put(layout, offer(program, "v3", sha256=sums, signature=signature), rules)
    assert left(layout) == []


# ---- Ed25519 and minisign

VECTOR_KEY = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
VECTOR = """untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1633700835\tfile:test\tprehashed
wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==
"""
"""minisign's own, of `test`: from the documentation of minisign-verify (https://docs.rs/minisign-verify)."""


class Minisign:
    """Signs as minisign does."""

    def __init__(self, number: bytes = b"12345678") -> None:
        self.number = number
        self.key = Ed25519PrivateKey.generate()

    @property
    def public(self) -> str:
        raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return base64.b64encode(b"Ed" + self.number + raw).decode()

    def sign(self, path: Path, *, prehashed: bool = True, trusted: str = "timestamp:1") -> Path:
        content = path.read_bytes()
        signature = self.key.sign(hashlib.blake2b(content).digest() if prehashed else content)
        first = base64.b64encode((b"ED" if prehashed else b"Ed") + self.number + signature).decode()
        overall = base64.b64encode(self.key.sign(signature + trusted.encode())).decode()
        made = path.with_name(f"{path.name}.minisig")
        made.write_text(f"untrusted comment: x\n{first}\ntrusted comment: {trusted}\n{overall}\n")
        return made


def test_one_that_minisign_itself_has_made(tmp_path: Path) -> None:
    (tmp_path / "test").write_text("test")
    (tmp_path / "test.minisig").write_text(VECTOR)
    key = key_of(tmp_path / "test", tmp_path / "test.minisig", store(tmp_path, keys=(VECTOR_KEY,)))
    assert key == "minisign E7620F1842B4E81F"
    (tmp_path / "test").write_text("Test")
    assert "something else" in refused(
        tmp_path / "test", tmp_path / "test.minisig", store(tmp_path, keys=(VECTOR_KEY,))
    )


@pytest.mark.parametrize("prehashed", [False, True])
def test_one_by_minisign(program: Path, tmp_path: Path, *, prehashed: bool) -> None:
    signer, other = Minisign(), Minisign(b"abcdefgh")
    signature = signer.sign(program, prehashed=prehashed)
    rules = store(tmp_path, keys=(other.public, signer.public))
    assert key_of(program, signature, rules) == f"minisign {signer.number[::-1].hex().upper()}"
    assert "is not among releases.keys" in refused(program, signature, store(tmp_path, keys=(other.public,)))
    assert "something else" in refused(program, signature, store(tmp_path, keys=(Minisign().public,)))
    signature.write_text(signature.read_text().replace("timestamp:1", "timestamp:2"))
    assert "something else" in refused(program, signature, rules)


@pytest.mark.parametrize("kept", [30, 60, 150, 200])
def test_one_by_minisign_that_is_cut_short(program: Path, tmp_path: Path, kept: int) -> None:
    signer = Minisign()
    signature = signer.sign(program)
    signature.write_bytes(signature.read_bytes()[:kept])
    assert "copy it again" in refused(program, signature, store(tmp_path, keys=(signer.public,)))


def test_one_by_ed25519_alone(program: Path, tmp_path: Path) -> None:
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    paths = []
    for number, each in enumerate((other, key)):
        path = tmp_path / f"{number}.pem"
        path.write_bytes(each.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        paths.append(str(path))
    signature = tmp_path / "server.sig"
    signature.write_bytes(key.sign(program.read_bytes()))
    assert key_of(program, signature, store(tmp_path, keys=tuple(paths))) == f"ed25519 {paths[1]}"
    assert "by no key of" in refused(program, signature, store(tmp_path, keys=(paths[0],)))
    assert "has no key in PEM" in refused(program, signature, store(tmp_path))
    (tmp_path / "0.pem").write_text("hello")
    with pytest.raises(OperatorError, match="is no public key in PEM"):
        key_of(program, signature, store(tmp_path, keys=(paths[0],)))


def test_an_archive_is_not_opened_before_its_signature_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, archive, signer = Layout(tmp_path / "web"), tmp_path / "build.tar", Minisign()
    archive.write_bytes(b"hostile")
    signature = signer.sign(archive)
    monkeypatch.setattr("supervisor.releases.archive.is_archive", lambda _: pytest.fail("it was looked into"))
    with pytest.raises(ReleaseError, match="something else"):
        put(layout, offer(archive, signature=signature), store(layout.root, keys=(Minisign().public,)))
    assert left(layout) == []
