"""What an operator may write for an address."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.linux.address import TcpAddress


@pytest.mark.parametrize(
    ("text", "canonical", "source"),
    [
        ("127.0.0.1:8080", "127.0.0.1:8080", "127.0.0.1"),
        ("localhost:80", "127.0.0.1:80", "127.0.0.1"),
        ("0.0.0.0:80", "0.0.0.0:80", "127.0.0.1"),
        (":80", "[::]:80", "127.0.0.1"),
        ("*:80", "[::]:80", "127.0.0.1"),
        ("[0:0::1]:0", "[::1]:0", "::1"),
        ("[::ffff:10.0.0.1]:80", "10.0.0.1:80", "10.0.0.1"),
        ("[fe80::1%lo]:80", "[fe80::1%lo]:80", "fe80::1%lo"),
    ],
)
def test_forms(text: str, canonical: str, source: str) -> None:
    address = TcpAddress.parse(text)
    assert str(address) == canonical
    assert address.loopback_source() == source
    assert TcpAddress.parse(canonical) == address
    assert address.sockaddr[1] == address.port


def test_v6only_wildcard_is_probed_over_ipv6() -> None:
    address = TcpAddress.parse("[::]:80", v6only=True)
    assert (address.dual_stack, address.loopback_source(), address.family) == (False, "::1", socket.AF_INET6)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("8080", "no port"),
        ("::1:80", "brackets"),
        ("[::1]", "does not end in a port"),
        ("[1.2.3.4]:80", "no IPv6 address"),
        ("example.org:80", "not an IP address"),
        ("1.2.3.4:http", "does not end in a port"),
        ("1.2.3.4:65536", "out of range"),
        ("1.2.3.4:²", "does not end in a port"),
        ("", "no port"),
    ],
)
def test_refused_with_what_would_do(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        TcpAddress.parse(text)


@pytest.mark.parametrize("keys", [{"v6only": True}, {"backlog": 0}, {"name": "a:b"}, {"name": ""}])
def test_values_refused(keys: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"v6only|backlog|name"):
        TcpAddress.parse("127.0.0.1:80", **keys)  # type: ignore[arg-type]


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        address = TcpAddress.parse(text)
    except ValueError:
        return
    assert TcpAddress.parse(str(address)) == address
