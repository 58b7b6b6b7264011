"""What is not shown, and that it can be compared all the same."""

import pytest

from supervisor.control.secrecy import Veil, is_secret


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DB_PASSWORD", "x"),
        ("dbpassword", "x"),
        ("PG_PASS", "hunter2"),
        ("API_KEY", "1"),
        ("apiKey", "1"),
        ("SSH_PRIVATE_KEY", "1"),
        ("GITHUB_TOKEN", "1"),
        ("tokenFile", "/run/x"),
        ("SENTRY_DSN", "x"),
        ("AUTH", "x"),
        ("DATABASE_URL", "postgres://web:hunter2@db/web"),
        ("ANY", "-----BEGIN RSA PRIVATE KEY-----\nx"),
        ("ANY", "Bearer abc"),
        ("ANY", "ghp_" + "a1B2" * 9),
        ("ANY", "eyJhbGciOiJIUzI1NiJ9.e30.abc"),
        ("ANY", "d41d8cd98f00b204e9800998ecf8427e"),
    ],
)
def test_what_is_called_or_looks_like_a_secret_is_one(name: str, value: str) -> None:
    assert is_secret(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DB_PASSWORD", ""),
        ("KEYBOARD", "us"),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", "/srv/web/releases/2026-11-28T10-00-00-a1b2c3d4e5f6"),
        ("PORT", "8080"),
        ("UPSTREAM", "http://127.0.0.1:9000/path"),
        ("LANG", "C.UTF-8"),
        ("MONKEY", "1"),
        ("GOMAXPROCS", "2"),
    ],
)
def test_what_is_not_is_shown(name: str, value: str) -> None:
    assert not is_secret(name, value)


def test_what_is_hidden_can_be_compared_within_one_answer_and_never_beyond() -> None:
    veil = Veil()
    assert veil.over("TOKEN", "a") == veil.over("TOKEN", "a") != veil.over("TOKEN", "b")
    assert veil.over("TOKEN", "a") != Veil().over("TOKEN", "a")
    assert veil.over("PORT", "80") == "80"
    assert veil.over("TOKEN", "caf\udce9").startswith("(hidden ")


def test_arguments_are_looked_at_with_their_options() -> None:
    shown = Veil().over_arguments(("--token=xyz", "--token", "xyz", "--port", "80", "-password", "x", "plain"))
    assert "xyz" not in " ".join(shown)  # no digits of a digest, which is in there
    assert shown[0].startswith("--token=(hidden ")
    assert shown[1:5:3] == ["--token", "80"]
    assert (shown[5], shown[7]) == ("-password", "plain")
    assert shown[6].startswith("(hidden ")
