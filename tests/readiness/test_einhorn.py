"""Einhorn's ack: what its clients send is read, and nothing else; and who sends it is believed to the kernel alone."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from supervisor.readiness.channel import Channel
from supervisor.readiness.einhorn import LONGEST_LINE, MOST_CONNECTIONS, AckSocket, parse

DEADLINE = 20.0

ACK = {"command": "worker:ack", "pid": "123"}


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (b"---%0Acommand: worker:ack%0Apid: 123%0A", ACK),
        (b"--- %0Acommand: worker:ack%0Apid: 123%0A", ACK),
        (b'---%0A"command"', None),
        (b"---%0Acommand: 'worker:ack'%0Apid: \"123\"%0A", ACK),
        (b'{"command":"worker:ack","pid":123}', ACK),
        (b'{"pid": 123, "command": "worker:ack"}', ACK),
        (
            b"---%0Acommand: worker:ping%0Apid: 123%0Arequest_id: '42'%0A",
            {"command": "worker:ping", "pid": "123", "request_id": "42"},
        ),
        (b'{"a":"line%0Abreak"}', None),
        (b'{"a":"100%25"}', {"a": "100%"}),
        (b"", None),
        (b"---", {}),
        (b"{}", {}),
        (b"--- !ruby/object:Gem::Installer%0Ai: x%0A", None),
        (b"---%0Acommand: !ruby/object:Gem::Installer x%0A", None),
        (b"---%0Acommand: &a worker:ack%0Apid: *a%0A", None),
        (b"---%0A:command: worker:ack%0A", None),
        (b"---%0Apid: 1%0Apid: 2%0A", None),
        (b'{"pid":1,"pid":2}', None),
        (b'{"pid":true}', None),
        (b'{"pid":{"a":1}}', None),
        (b'{"pid":1.5}', None),
        (b'{"a":' + b"[" * 4000 + b"]" * 90, None),
        (b'["worker:ack"]', None),
        ("---%0Acommand: ä".encode(), None),
        (b"\xff\xfe", None),
    ],
)
def test_what_a_line_says(line: bytes, fields: Mapping[str, str] | None) -> None:
    if fields is not None:
        assert parse(line) == fields
        return
    with pytest.raises(ValueError, match=r"\w"):
        parse(line)


class Scene:
    """A socket, the child that it is for, and a count of the acks that were taken."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.acks = asyncio.Queue[None]()
        self.child = subprocess.Popen(["/bin/sleep", "60"], process_group=0)
        self.ears = AckSocket(path)
        self.ears.listen(self.child.pid, lambda: self.acks.put_nowait(None))

    def connect(self) -> socket.socket:
        """As a stranger to the child: we are not of its process group."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(str(self.path))
        sock.settimeout(0)
        return sock

    async def from_the_childs_group(self, script: str) -> None:
        """Run it to its end, with `address` and `child` at hand."""
        start = f"import os, socket; address = {str(self.path)!r}; child = {self.child.pid}\n"
        process = subprocess.Popen([sys.executable, "-IS", "-c", start + script], process_group=self.child.pid)
        assert await asyncio.to_thread(process.wait, DEADLINE) == 0

    def close(self) -> None:
        self.ears.close()
        self.child.kill()
        self.child.wait()
        assert not self.path.exists()


def play(tmp_path: Path, scenario: Callable[[Scene], Coroutine[None, None, None]]) -> None:
    async def played() -> None:
        scene = Scene(tmp_path / "ack.sock")
        try:
            async with asyncio.timeout(DEADLINE):
                await scenario(scene)
        finally:
            scene.close()

    asyncio.run(played())


async def closed(sock: socket.socket) -> None:
    """Wait until the other side has closed."""
    with sock, suppress(ConnectionResetError):
        assert await asyncio.get_running_loop().sock_recv(sock, 1) == b""


SEND = """
def send(text, address=address):
    s = socket.socket(socket.AF_UNIX); s.connect(address); s.sendall(text.encode()); s.recv(1); s.close()
"""


def test_it_is_for_the_child_alone_and_closes_after_a_line(tmp_path: Path) -> None:
    async def scenario(scene: Scene) -> None:
        assert stat.S_IMODE(scene.path.stat().st_mode) == 0o600
        await scene.from_the_childs_group(
            SEND + """send("---%0Acommand: worker:ack%0Apid: " + str(child) + "%0A\\n")"""
        )
        await scene.acks.get()

    play(tmp_path, scenario)


def test_one_of_its_group_may_say_it_in_its_own_name(tmp_path: Path) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.from_the_childs_group(SEND + """send('{"command":"worker:ack","pid":%d}\\n' % os.getpid())""")
        await scene.acks.get()

    play(tmp_path, scenario)


def test_a_ping_is_heard_and_is_no_ack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.from_the_childs_group(
            SEND + """send('{"command":"worker:ping","pid":%d,"request_id":"7"}\\n' % os.getpid())"""
        )
        assert scene.acks.empty()

    play(tmp_path, scenario)
    assert "ack_refused" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("""'{"command":"worker:ack","pid":1}\\n'""", "says that it is process 1"),
        ("""'{"command":"worker:ack"}\\n'""", "says that it is process None"),
        ("""'{"command":"worker:stop","pid":%d}\\n' % os.getpid()""", "want the command"),
        ("'hello\\n'", "want JSON"),
        (f"'x' * {LONGEST_LINE + 1}", "want a line of at most"),
    ],
)
def test_a_lie_or_nonsense_is_refused_and_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, why: str
) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.from_the_childs_group(SEND + f"send({text})")
        assert scene.acks.empty()

    play(tmp_path, scenario)
    told = capsys.readouterr().out
    assert "ack_refused" in told
    assert why in told


def test_a_stranger_is_refused_whatever_pid_it_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario(scene: Scene) -> None:
        for pid in (scene.child.pid, os.getpid()):
            sock = scene.connect()
            sock.sendall(b'{"command":"worker:ack","pid":%d}\n' % pid)
            await closed(sock)
        assert scene.acks.empty()

    play(tmp_path, scenario)
    assert capsys.readouterr().out.count("or its process group") == 2


def test_silent_connections_are_bounded_and_do_not_lock_the_child_out(tmp_path: Path) -> None:
    async def scenario(scene: Scene) -> None:
        silent = [scene.connect() for _ in range(MOST_CONNECTIONS)]
        further = scene.connect()
        await closed(silent[0])
        await scene.from_the_childs_group(SEND + """send('{"command":"worker:ack","pid":%d}\\n' % child)""")
        await scene.acks.get()
        await closed(silent[1])
        for each in (*silent[2:], further):
            each.close()

    play(tmp_path, scenario)


@pytest.mark.parametrize("method", ["auto", "einhorn"])
def test_an_ack_is_a_word(tmp_path: Path, method: str) -> None:
    async def scene() -> str:
        channel = Channel(tmp_path / "notify.sock", tmp_path / "ack.sock", None)
        script = f"address = {str(tmp_path / 'ack.sock')!r}; import os, socket\n{SEND}"
        script += """send('{"command":"worker:ack","pid":%d}\\n' % os.getpid()); os.read(0, 1)"""
        child = subprocess.Popen(
            [sys.executable, "-IS", "-c", script],
            stdin=subprocess.PIPE,
            process_group=0,
            pass_fds=[channel.child_end],
        )
        channel.listen(child.pid, lambda _: None)
        try:
            async with asyncio.timeout(DEADLINE):
                return await channel.word(method)
        finally:
            channel.close()
            child.communicate()

    assert asyncio.run(scene()) == "einhorn"
    assert list(tmp_path.iterdir()) == []
