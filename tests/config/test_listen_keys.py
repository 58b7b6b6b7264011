"""The keys of a listener: taken as they are meant, or refused in a sentence."""

from typing import Any

import pytest

from supervisor.config.reading import parse
from supervisor.config.summary import summary
from supervisor.config.tables import Configuration
from supervisor.engine.addresses import addresses
from supervisor.errors import ConfigurationError


def configuration(**listen: Any) -> Configuration:  # noqa: ANN401 - what TOML can say
    return parse({"service": {"name": "web", "command": ["/bin/true"]}, "listen": [listen]}, "test")


def test_options_reach_the_address() -> None:
    keys = {"defer_accept": "1m5s", "fast_open": 256, "keep_alive": True, "keep_alive_time": "60s", "no_delay": False}
    made = configuration(address="127.0.0.1:8080", device="eth0", free_bind=True, v6only=None, **keys)
    (address,) = addresses(made.launch().listen)
    assert address == made.addresses[0]
    assert dict(getattr(address, "options")) == {  # noqa: B009 - not of every kind
        "defer_accept": 65,
        "device": "eth0",
        "fast_open": 256,
        "free_bind": True,
        "keep_alive": True,
        "keep_alive_time": 60,
        "no_delay": False,
    }
    assert summary(made)


def test_one_port_for_tcp_and_udp() -> None:
    both = [{"name": "tcp", "address": "127.0.0.1:53"}, {"name": "udp", "address": "udp://127.0.0.1:53"}]
    made = parse({"service": {"name": "dns", "command": ["/bin/true"]}, "listen": both}, "test")
    assert [str(each) for each in made.addresses] == ["127.0.0.1:53", "udp://127.0.0.1:53"]


@pytest.mark.parametrize(
    ("listen", "said"),
    [
        ({"address": "udp:127.0.0.1:53"}, "want it with two slashes"),
        ({"address": "udp://127.0.0.1"}, "has no port"),
        ({"address": "udp://127.0.0.1:53", "backlog": 5}, "backlog means nothing for UDP"),
        ({"address": "udp://127.0.0.1:53", "no_delay": True}, "no_delay means nothing for udp://127.0.0.1:53"),
        ({"address": "udp://127.0.0.1:53", "mode": "shared"}, 'mode = "shared" means nothing for UDP'),
        ({"address": "127.0.0.1:53", "receive_buffer": 5}, "receive_buffer means nothing for 127.0.0.1:53"),
        ({"address": "127.0.0.1:53", "keep_alive_probes": 5}, "means nothing without keep_alive = true"),
        ({"address": "127.0.0.1:53", "defer_accept": "500ms"}, "want whole seconds"),
        ({"address": "127.0.0.1:53", "defer_accept": 5}, "want it in quotes and with a unit"),
        ({"address": "127.0.0.1:53", "defer_accept": "5s", "mode": "shared"}, "does not go with"),
        ({"address": "127.0.0.1:53", "device": "eth0/1"}, "want the name of a network device"),
        ({"address": "127.0.0.1:53", "fast_open": 0}, "fast_open"),
        ({"address": "unix:/run/x.sock", "no_delay": True}, "no_delay means nothing for a Unix socket"),
    ],
)
def test_what_will_not_do_is_said(listen: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        configuration(**listen)


def test_http_cannot_be_asked_of_datagrams() -> None:
    data = {
        "service": {"name": "dns", "command": ["/bin/true"]},
        "listen": [{"name": "dns", "address": "udp://127.0.0.1:53"}, {"name": "web", "address": "127.0.0.1:80"}],
        "ready": {"method": "http", "http": {"listener": "dns"}},
    }
    with pytest.raises(ConfigurationError, match='"dns" takes datagrams'):
        parse(data, "test")


def test_who_is_asked_over_http_is_the_first_that_speaks_it() -> None:
    datagrams, stream = {"address": "udp://127.0.0.1:53"}, {"address": "127.0.0.1:80", "name": "web"}
    data = {"service": {"name": "web", "command": ["/srv/web"]}, "ready": {"method": "http"}}
    asked = parse({**data, "listen": [datagrams, stream]}, "test").policy().ready_http
    assert asked is not None
    assert asked.listener == "web"
    for listen, why in (
        ([datagrams], "takes datagrams: want a TCP or Unix listener"),
        ([{**stream, "mode": "shared"}], "another than is meant may answer there"),
    ):
        with pytest.raises(ConfigurationError, match=why):
            parse({**data, "listen": listen}, "test")
    with pytest.raises(ConfigurationError, match='"x" is the name of no listener: want one of web'):
        parse({**data, "listen": [stream], "ready": {"warm_up": {"paths": ["/"], "listener": "x"}}}, "test")
