"""Configurations as hypothesis makes them: right ones, wrong ones, and right ones with something wrong in them."""

import string
from copy import deepcopy
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from hypothesis import strategies as st

PLAIN = st.one_of(
    st.booleans(),
    st.integers(),
    st.sampled_from([1 << 9000, -(1 << 9000)]),
    st.floats(),
    st.text(max_size=30),
    st.sampled_from(
        ["", "30s", "0s", "TERM", "KILL", "\0", "/", "/a", "unlimited", "1:2", "022", "auto", "http", ":1"]
    ),
    st.dates(),
    st.datetimes(),
    st.times(),
)
ANYTHING = st.recursive(
    PLAIN,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=4,
)
MODES = st.sampled_from(["overlap", "exclusive"])
DURATIONS = st.sampled_from(["1ms", "500ms", "30s", "1m30s", "2h", "0.5s", "8760h"])
NAMES = st.text(string.ascii_letters + string.digits, min_size=1, max_size=6).map(
    lambda text: f"{text[0]}._@-{text[1:]}"
)
V4, V6 = (st.integers(0, 2**bits - 1).map(make) for bits, make in ((32, IPv4Address), (128, IPv6Address)))
ADDRESSES = st.one_of(
    st.builds("{}:{}".format, V4, st.integers(0, 65535)),
    st.builds("[{}]:{}".format, V6, st.integers(0, 65535)),
    st.builds("[fe80::1%{}]:{}".format, st.sampled_from(["eth0", "1", "9" * 30]), st.integers(0, 65535)),
    st.builds(":{}".format, st.integers(0, 65535)),
    st.sampled_from(["unix:/run/web/http.sock", "unix:/run/a%b.sock"]),
)
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=10)


def table(required: dict[str, st.SearchStrategy[Any]], optional: dict[str, st.SearchStrategy[Any]]) -> Any:  # noqa: ANN401 - a strategy of what JSON and TOML can say
    return st.fixed_dictionaries(required, optional=optional)


PROGRAM = "/srv/web/current/server"
SERVICES = table(
    {"name": NAMES, "command": st.lists(WORDS, max_size=3).map(lambda rest: [PROGRAM, *rest])},
    {
        "directory": WORDS.map(lambda text: f"/{text}"),
        "user": st.just("root"),
        "group": st.just("root"),
        "umask": st.sampled_from(["022", "0077", "000"]),
        "environment": st.dictionaries(st.sampled_from(["A", "PATH", "a.b", "X_1", "LANG"]), WORDS, max_size=3),
        "limits": st.dictionaries(
            st.sampled_from(["nofile", "core"]), st.sampled_from([0, 1024, "unlimited", "1:2", "5:unlimited"])
        ),
        "groups": st.just(["root"]),
        "capabilities": st.just(["net_bind_service", "CAP_SYS_NICE"]),
        "nice": st.integers(-20, 19),
        "dialects": st.just(["einhorn"]),
        "stdout": st.just("/dev/null"),
        "state_dir": st.just("/nowhere"),
    },
)
SHARING = st.sampled_from(["reuseport", "shared"])
LISTENERS = table(
    {"address": ADDRESSES},
    {"name": NAMES, "backlog": st.integers(1, 65535), "mode": SHARING},
)
ASKING = {"headers": st.just({"Host": "web"}), "tls": st.booleans(), "timeout": DURATIONS}
STATUSES = st.sampled_from([200, "200-299", [200, "404"]])
WARM_UP = table({"paths": st.just(["/", "/a?b"])}, {"rounds": st.integers(1, 10_000), **ASKING})
READY = st.one_of(
    table({}, {"method": st.sampled_from(["auto", "pipe", "accept"]), "timeout": DURATIONS, "warm_up": WARM_UP}),
    table(
        {"method": st.just("http")},
        {"http": table({}, {"path": st.just("/x"), "status": STATUSES, "body": st.just("^ok$"), **ASKING})},
    ),
)
COMMANDS = st.just(["/usr/bin/check", "--fast"])
GATES = st.lists(table({"name": NAMES, "command": COMMANDS}, {"timeout": DURATIONS}), max_size=3)
KEYS = st.just(["/etc/gapless/release.pem", "RW" + "Q" * 54])
REQUIRED = st.lists(st.sampled_from(["sha256", "signature"]), max_size=2)
RELEASES = table(
    {"root": st.just("/srv/web"), "keys": KEYS},
    {"require": REQUIRED, "keyring": st.just("/etc/gapless/release.gpg"), "keep": st.integers(1, 1000)},
)
ROLES = ("viewers", "operators", "admins")
MEMBERS = st.lists(st.sampled_from(["root", "@root", "0", "@4294967294"]), max_size=3)
RIGHT = table(
    {"service": SERVICES, "listen": st.lists(LISTENERS, min_size=1, max_size=4)},
    {
        "ready": READY,
        "handoff": table({}, {"mode": MODES, "probation": DURATIONS | st.just("0s"), "ahead": st.booleans()}),
        "drain": table({}, {"signal": st.sampled_from(["TERM", "SIGQUIT", "int"]), "limit": st.integers(1, 100)}),
        "restart": table({}, {"delay": DURATIONS, "limit": st.integers(1, 1000), "longest": DURATIONS}),
        "health": st.one_of(
            table({}, {"watchdog": DURATIONS, "probe": st.just("accept"), "interval": DURATIONS}),
            table({"probe": st.just("http")}, {"http": table({}, {"path": st.just("/x"), "status": STATUSES})}),
        ),
        "recycle": table({}, {"memory": st.sampled_from(["512MiB", "0.5GiB", "1TiB"]), "age": DURATIONS}),
        "preflight": table(
            {}, {"refuse": st.sampled_from(["blocks", "warns", "nothing"]), "check": COMMANDS, "timeout": DURATIONS}
        ),
        "gate": GATES,
        "releases": RELEASES,
        "rollback": table({}, {"after": st.integers(0, 100), "within": DURATIONS, "quarantine": DURATIONS}),
        "stop": table({}, {"timeout": DURATIONS}),
        "control": table(
            {"mode": st.sampled_from(["0666", "660"])},
            {"socket": st.just("/run/x.sock"), "group": st.just("root"), **dict.fromkeys(ROLES, MEMBERS)},
        ),
    },
)


WAYS = 24
"""In which each right one is spoilt: to draw a right one takes longer than all that is done to it."""


@st.composite
def spoilt(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A right one, spoilt in several ways: some values, or whole tables, are something else."""
    right = draw(RIGHT)
    return [_spoil(draw, deepcopy(right)) for _ in range(WAYS)]  # some of it is the same object in every example


def _spoil(draw: st.DrawFn, made: dict[str, Any]) -> dict[str, Any]:
    for _ in range(draw(st.integers(1, 3))):
        place: Any = made
        while True:
            keys = list(range(len(place))) if isinstance(place, list) else list(place)
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            deeper = place[key]
            if isinstance(deeper, (dict, list)) and deeper and draw(st.integers(0, 3)):
                place = deeper
                continue
            match draw(st.integers(0, 3)):
                case 0 if isinstance(place, dict):
                    del place[key]
                case 1 if isinstance(place, dict):
                    place[draw(st.text(max_size=20))] = place.pop(key)
                case _:
                    place[key] = draw(ANYTHING)
            break
    return made
