"""Socket options of listeners, on the real kernel."""

import socket
from contextlib import closing

import pytest

from supervisor.errors import HostError
from supervisor.linux.address import TcpAddress
from supervisor.linux.listener import open_listener, parse_address
from supervisor.linux.options import Options
from supervisor.linux.tcp import TcpListener
from tests.linux.test_listeners import answers

KEEP_ALIVE: Options = (
    ("keep_alive", 1),
    ("keep_alive_time", 7),
    ("keep_alive_interval", 3),
    ("keep_alive_probes", 4),
    ("no_delay", 1),
)
ELSEWHERE = "192.0.2.1"  # RFC 5737: nobody's


def listener(*options: tuple[str, str | int], text: str = "127.0.0.1:0") -> TcpListener:
    return TcpListener.open(TcpAddress.parse(text, options=options))


def test_connections_have_what_their_listener_has() -> None:
    with closing(listener(*KEEP_ALIVE)) as made:
        made.join(1)
        with socket.create_connection(("127.0.0.1", made.bound.port)):
            accepted, _ = made.socket(1).accept()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_NODELAY)
            assert [accepted.getsockopt(socket.IPPROTO_TCP, each) for each in options] == [7, 3, 4, 1]


def test_who_says_nothing_is_held_back_and_our_probe_speaks() -> None:
    with closing(listener(("defer_accept", 5))) as made:
        made.join(1)
        with socket.create_connection(("127.0.0.1", made.bound.port)) as silent:
            assert made.queue(1) == 0
            with closing(made.reach(1)) as probe:
                probe.getpeername()
                assert made.has_accepted(probe, lambda _: True) is False
                assert made.queue(1) == 1
                with made.socket(1).accept()[0]:
                    assert made.has_accepted(probe, lambda _: True)
            made.unprobe()
            silent.sendall(b"x")
            assert made.queue(1) == 1


def test_fast_open_and_receive_buffer_are_set() -> None:
    with closing(listener(("fast_open", 256))) as made:
        made.join(1)
        assert made.socket(1).getsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN) == 256
    with closing(open_listener(parse_address("udp://127.0.0.1:0", name="u", options={"receive_buffer": 9999}))) as udp:
        udp.enter(1)
        assert udp.socket(1).getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * 9999


def test_a_new_configuration_is_for_the_new_sockets_and_no_spare_of_old_ones_is_used() -> None:
    with closing(listener(("no_delay", 1))) as made:
        for member in (1, 2, 3):
            made.join(member)
        made.steer(3)
        made.leave(1)  # leaves a spare behind
        made.enter(4, TcpAddress.parse("127.0.0.1:0", backlog=9, options=(("keep_alive", 1),)))
        given = [made.socket(4).getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)]
        given += [made.socket(each).getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) for each in (3, 4)]
        assert given == [0, 0, 1]
        for target in (4, 3, 2):
            made.steer(target)
            with socket.create_connection(("127.0.0.1", made.bound.port)):
                assert made.queue(target) == 1


def test_bound_to_loopback_it_can_be_probed_and_to_another_device_not() -> None:
    with closing(listener(("device", "lo"))) as made:
        made.join(1)
        assert answers("127.0.0.1", made.bound.port)
        assert made.probes
    assert not TcpAddress.parse("127.0.0.1:0", options=(("device", "eth77"),)).within_reach
    with pytest.raises(HostError, match="this host has none of that name"):
        listener(("device", "eth77"))


def test_an_address_that_is_elsewhere_can_be_listened_on_and_not_probed() -> None:
    with pytest.raises(HostError, match=f"no address {ELSEWHERE}"):
        listener(text=f"{ELSEWHERE}:0")
    with closing(listener(("free_bind", 1), text=f"{ELSEWHERE}:0")) as made:
        made.join(1)
        assert not made.probes
    with closing(listener(("free_bind", 1))) as here:
        assert here.probes


def test_a_refusal_says_what_would_do() -> None:
    with pytest.raises(HostError, match=r"gets no receive_buffer of 1073741823 bytes: raise net.core.rmem_max"):
        open_listener(parse_address("udp://127.0.0.1:0", name="u", options={"receive_buffer": (1 << 30) - 1}))
    with pytest.raises(HostError, match=r"the kernel refuses keep_alive_time = 99999 .*: leave keep_alive_time out"):
        listener(("keep_alive_time", 99999))


def test_an_option_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="no_delay means nothing for udp"):
        parse_address("udp://127.0.0.1:53", name="u", options={"no_delay": 1})
    with pytest.raises(ValueError, match=r"receive_buffer means nothing for 127\.0\.0\.1"):
        parse_address("127.0.0.1:53", name="u", options={"receive_buffer": 1})


def test_remarks_tell_what_follows() -> None:
    told = " ".join(parse_address("127.0.0.1:80", name="w", options={"defer_accept": 5, "device": "eth7"}).remarks)
    assert "counted in no queue" in told
    assert "no generation is probed" in told
    told = " ".join(parse_address("udp://127.0.0.1:53", name="d").remarks)
    assert "every client to the new generation at once" in told
