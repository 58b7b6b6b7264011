"""What a child is told, in each dialect."""

import os
from pathlib import Path

import pytest

from supervisor.core.launch import Launch, Listen
from supervisor.engine import contract
from supervisor.linux.template import asked

RUN = contract.Run(
    service="web",
    generation=3,
    release="v1+1",
    index=1,
    notify_path=Path("/run/n.sock"),
    ack_path=Path("/run/a.sock"),
)


def handed(*written: str, real: tuple[str, ...] = ()) -> list[contract.Handed]:
    names = [f"n{number}" for number in range(len(written))]
    listens = tuple(Listen(name=name, address=text) for name, text in zip(names, written, strict=True))
    return contract.handed(Launch(argv=("/x",), listen=listens), names, real or written)


@pytest.mark.parametrize(
    ("written", "real", "told"),
    [
        ("127.0.0.1:80", "127.0.0.1:80", "127.0.0.1:80=3"),
        ("localhost:0", "127.0.0.1:4711", "localhost:4711=3"),
        (":8080", "[::]:8080", "8080=3"),
        ("*:0", "[::]:4711", "4711=3"),
        ("[::1]:443", "[::1]:443", "[::1]:443=3"),
        ("udp://127.0.0.1:53", "udp://127.0.0.1:53", "127.0.0.1:53=3"),
        ("unix:/run/x.sock", "unix:/run/x.sock", "/run/x.sock=3"),
    ],
)
def test_server_starters_readers_find_what_they_expect(written: str, real: str, told: str) -> None:
    found = contract.environment(RUN, handed(written, real=(real,)), ["server-starter"])
    assert found["SERVER_STARTER_PORT"] == told
    assert found["SERVER_STARTER_GENERATION"] == "3"
    assert not [name for name in found if name.startswith("EINHORN")]


def test_several_listeners_in_every_dialect() -> None:
    found = contract.environment(RUN, handed("127.0.0.1:80", "[::1]:81"), ["einhorn", "server-starter"])
    assert found["SERVER_STARTER_PORT"] == "127.0.0.1:80=3;[::1]:81=4"
    assert {name: value for name, value in found.items() if name.startswith("EINHORN")} == {
        "EINHORN_FD_COUNT": "2",
        "EINHORN_FD_0": "3",
        "EINHORN_FD_1": "4",
        "EINHORN_FDS": "3 4",
        "EINHORN_MASTER_PID": str(os.getpid()),
        "EINHORN_CHILD_INDEX": "1",
        "EINHORN_SOCK_PATH": "/run/a.sock",
    }
    assert (found["LISTEN_FDS"], found["READY_FD"]) == ("2", "5")


def test_no_dialect_is_spoken_that_was_not_asked_for() -> None:
    found = contract.environment(RUN, handed("127.0.0.1:80"), [])
    assert not [name for name in found if name.startswith(("EINHORN", "SERVER_STARTER"))]


@pytest.mark.parametrize(
    ("word", "becomes"),
    [
        ("{fd:n1}", "4"),
        ("--fd={fd:n0},{fd:n1}", "--fd=3,4"),
        ("{address:n1}/{port:n1}", "[::1]:4711/4711"),
        ("{{fd:n0}}", "{fd:n0}"),
        ("{{{fd:n0}}}", "{{fd:n0}}"),
        ("{fd:n0", "{fd:n0"),
        ("{{.Name}} {} ${HOME} {a,b} {fd} {FD:n0} }}{{", "{{.Name}} {} ${HOME} {a,b} {fd} {FD:n0} }}{{"),
        ('{"fd":"n0"}', '{"fd":"n0"}'),
    ],
)
def test_templates_are_filled_in_and_every_other_brace_is_left_alone(word: str, becomes: str) -> None:
    sockets = handed("127.0.0.1:80", "[::1]:0", real=("127.0.0.1:80", "[::1]:4711"))
    assert contract.command(["/{fd:n0}", word], sockets) == ["/{fd:n0}", becomes]


def test_what_is_asked_for_is_known_beforehand() -> None:
    assert list(asked(["/{fd:a}", "{fd:b}{{fd:c}}", "x{port:d.e@f-g}"])) == [("fd", "b"), ("port", "d.e@f-g")]
