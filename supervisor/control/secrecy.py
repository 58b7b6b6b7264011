"""Values that are not to be shown: what is called a secret, or looks like one.

A guess, on the side of hiding. What is hidden can still be compared: its mark is a keyed hash, under a key that is made
for one answer and forgotten, so that equal values have equal marks in it, and nobody can try values out.
"""

from __future__ import annotations

import re
import secrets
from hashlib import blake2b

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_CALLED = re.compile(
    r"auth|authorization|cookie|credentials?|dsn|keys?|otp|pass|passphrase|pat|pin|private|pwd|salt|session|signature",
    re.IGNORECASE,
)
_WITHIN = re.compile(r"secret|token|passw|credential|apikey", re.IGNORECASE)
"""Also as a part of a longer word."""
_LOOKS = re.compile(
    r"-----BEGIN |://[^/@\s]*:[^/@\s]+@|^(?:bearer|basic) "
    r"|(?:^|[^A-Za-z0-9])(?:AKIA|ASIA|gh[oprsu]_|github_pat_|glpat-|xox[abprs]-|sk-|sk_live_|eyJ)[A-Za-z0-9_.-]{8,}",
    re.IGNORECASE,
)
_RANDOM = re.compile(r"(?=[^a-z]*[a-z])(?=[^0-9]*[0-9])[A-Za-z0-9+/=_-]{32,}")
"""A long word of letters and digits that is no path, no number and no name."""
_OPTION = re.compile(r"(--?[A-Za-z0-9][A-Za-z0-9_.-]*)=(.*)", re.DOTALL)
_MARK = 6
"""Bytes."""


def is_secret(name: str, value: str) -> bool:
    """Whether a value of that name had better not be shown."""
    if not value:
        return False
    called = _WITHIN.search(name) or any(map(_CALLED.fullmatch, _WORD.findall(name)))
    return bool(called or _LOOKS.search(value) or (_RANDOM.fullmatch(value) and not value.startswith("/")))


class Veil:
    """Hides values in one answer."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def over(self, name: str, value: str) -> str:
        """The value, or a mark in its place."""
        return self._mark(value) if is_secret(name, value) else value

    def over_arguments(self, arguments: tuple[str, ...]) -> list[str]:
        """The same of a command line: `--token=x`, `--token x`."""
        shown: list[str] = []
        option = ""
        for each in arguments:
            match = _OPTION.fullmatch(each)
            if match is not None:
                shown.append(f"{match[1]}={self.over(match[1], match[2])}")
            else:
                shown.append(self.over(option, each))
            option = each if each.startswith("-") and match is None else ""
        return shown

    def _mark(self, value: str) -> str:
        return (
            f"(hidden {blake2b(value.encode(errors='surrogateescape'), key=self._key, digest_size=_MARK).hexdigest()})"
        )
