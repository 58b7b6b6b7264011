from __future__ import annotations

import array
import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from supervisor.readiness.channel import Channel, ClosedWithoutWordError

DEADLINE = 20.0


async def with_channel(tmp_path: Path, method: str, script: str) -> tuple[str, list[Mapping[str, str]]]:
    """What is heard from a real child that runs this script with `ready` (an fd) and `address` at hand."""
    channel, heard = Channel(tmp_path / "notify.sock", None, None), list[Mapping[str, str]]()
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import os, socket; ready = {channel.child_end}; address = '{channel.notify_path}'\n{script}",
        ],
        pass_fds=[channel.child_end],
        stdin=subprocess.PIPE,
        process_group=0,
    )
    channel.listen(child.pid, heard.append)
    try:
        async with asyncio.timeout(DEADLINE):
            return await channel.word(method), heard
    finally:
        channel.close()
        child.kill()
        child.wait()
        assert child.stdin is not None
        child.stdin.close()


SAY = "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.sendto(b'STATUS=up\\nREADY=1', address)\n"
STAY = "os.read(0, 1)\n"


@pytest.mark.parametrize("method", ["auto", "pipe"])
def test_a_line_on_the_pipe_is_a_word(tmp_path: Path, method: str) -> None:
    how, _ = asyncio.run(with_channel(tmp_path, method, "os.write(ready, b'ready\\n')\n" + STAY))
    assert how == "pipe"


@pytest.mark.parametrize("method", ["auto", "notify"])
def test_sd_notify_is_a_word(tmp_path: Path, method: str) -> None:
    how, heard = asyncio.run(with_channel(tmp_path, method, SAY + STAY))
    assert how == "notify"
    assert heard == [{"STATUS": "up", "READY": "1"}]


def test_half_a_line_is_not_yet_a_word(tmp_path: Path) -> None:
    with pytest.raises(ClosedWithoutWordError):
        asyncio.run(with_channel(tmp_path, "auto", "os.write(ready, b'rea'); os.close(ready)\n" + STAY))


def test_the_pipe_closed_in_silence_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ClosedWithoutWordError):
        asyncio.run(with_channel(tmp_path, "auto", "os.close(ready)\n" + STAY))


def test_the_pipe_means_nothing_where_only_sd_notify_counts(tmp_path: Path) -> None:
    how, _ = asyncio.run(with_channel(tmp_path, "notify", "os.close(ready)\n" + SAY + STAY))
    assert how == "notify"


def test_a_message_of_a_stranger_does_not_count(tmp_path: Path) -> None:
    async def scene() -> None:
        channel, heard = Channel(tmp_path / "notify.sock", None, None), list[Mapping[str, str]]()
        child = subprocess.Popen(["/bin/sleep", "60"], process_group=0)
        channel.listen(child.pid, heard.append)
        stranger = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            stranger.sendto(b"READY=1", str(channel.notify_path))
            own = [
                sys.executable,
                "-c",
                f"import os, socket; address = '{channel.notify_path}'\n{SAY}{STAY}",
            ]
            async with asyncio.timeout(DEADLINE):
                ours = subprocess.Popen(own, stdin=subprocess.PIPE, process_group=child.pid)
                assert await channel.word("notify") == "notify"
                ours.communicate()
            assert heard == [{"STATUS": "up", "READY": "1"}], "only that of the child's own group was heard"
        finally:
            stranger.close()
            channel.close()
            child.kill()
            child.wait()

    asyncio.run(scene())


def test_a_barrier_is_answered_by_closing_its_fd(tmp_path: Path) -> None:
    async def scene() -> None:
        channel = Channel(tmp_path / "notify.sock", None, None)
        channel.listen(os.getpid(), lambda _: None)
        read, write = os.pipe()
        closed = asyncio.Event()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(str(channel.notify_path))
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [write]))]
            sender.sendmsg([b"BARRIER=1"], rights)
        os.close(write)
        asyncio.get_running_loop().add_reader(read, closed.set)
        try:
            async with asyncio.timeout(DEADLINE):
                await closed.wait()
            assert os.read(read, 1) == b""
        finally:
            asyncio.get_running_loop().remove_reader(read)
            os.close(read)
            channel.close()

    asyncio.run(scene())


def test_many_messages_keep_nobody_else_waiting(tmp_path: Path) -> None:
    async def heard_before_the_next_turn() -> int:
        channel, heard, turns = Channel(tmp_path / "notify.sock", None, None), list[Mapping[str, str]](), list[int]()
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def next_turn() -> None:
            turns.append(len(heard))
            done.set()

        def hear(fields: Mapping[str, str]) -> None:
            if not heard:
                loop.call_soon(next_turn)
            heard.append(fields)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as again:
                if len(heard) < 1000:
                    again.sendto(b"STATUS=again", str(channel.notify_path))

        channel.listen(os.getpid(), hear)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as first:
            first.sendto(b"STATUS=once", str(channel.notify_path))
        async with asyncio.timeout(DEADLINE):
            await done.wait()
        channel.close()
        return turns[0]

    assert asyncio.run(heard_before_the_next_turn()) < 1000
