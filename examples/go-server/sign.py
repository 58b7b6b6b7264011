"""Make the key that releases are signed by, or sign a file with it: Ed25519, in the forms that OpenSSL has.

`sign.py key PRIVATE PUBLIC` does as `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout` would, and
`sign.py sign PRIVATE FILE` as `openssl pkeyutl -sign -rawin`, into FILE.sig: where there is no OpenSSL, this is enough.
"""

import os
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)


def make_key(private: Path, public: Path) -> None:
    """Write both halves. One that is there is never written over: what it has signed could be verified no more."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    fd = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(pem)
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def sign(private: Path, file: Path) -> None:
    """Write the 64 bytes of a signature of the file itself beside it."""
    key = load_pem_private_key(private.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        sys.exit(f"sign.py: {private} is no Ed25519 key")
    file.with_name(f"{file.name}.sig").write_bytes(key.sign(file.read_bytes()))


match sys.argv[1:]:
    case ["key", private, public]:
        try:
            make_key(Path(private), Path(public))
        except FileExistsError:
            sys.exit(f"sign.py: there is a key already: {private}")
        print(f"private: {private}")
        print(f"public:  {public}")
    case ["sign", private, file]:
        sign(Path(private), Path(file))
    case _:
        sys.exit("usage: sign.py key PRIVATE PUBLIC | sign.py sign PRIVATE FILE")
