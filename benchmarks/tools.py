"""The tools that are compared, each with what it says itself is the way to replace a server."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import psutil

from supervisor.control.client import Client
from supervisor.errors import GaplessError

if TYPE_CHECKING:
    from collections.abc import Mapping

PATIENCE = 15.0
"""Seconds for whatever should take less."""


class BenchmarkError(Exception):
    """It cannot be measured: the text says why, and what would do."""


class Instant(NamedTuple):
    """One instant by both clocks: Unix seconds, and nanoseconds of CLOCK_MONOTONIC."""

    wall: float
    monotonic: int

    @classmethod
    def now(cls) -> Instant:
        """As close to each other as two calls are."""
        return cls(time.time(), time.monotonic_ns())


class Place(NamedTuple):
    """What a tool has to work with: it is all gone afterwards."""

    folder: Path
    """On the disk of the checkout."""

    sockets: Path
    """A path that is short enough for sockets."""

    current: Path
    """The server, through a symlink that each upgrade sets before it asks."""

    port: int


class Tool(ABC):
    """One way to run a server and to replace it."""

    name: ClassVar[str]
    title: ClassVar[str]
    how: ClassVar[str]
    """The upgrade, in a few words."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.place.port}"

    @abstractmethod
    def command(self) -> list[str]:
        """What starts it, in the foreground."""

    def environment(self) -> Mapping[str, str]:
        """What it needs beside ours."""
        return {}

    def start(self) -> Instant:
        """Start it, and wait for nothing."""
        with (self.place.folder / f"{self.name}.log").open("ab") as log:
            command, environment = self.command(), _clean() | dict(self.environment())
            now = Instant.now()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.place.folder,
                env=environment,
                process_group=0,  # a Ctrl-C is ours to deal with
            )
        return now

    def upgrade(self) -> Instant:
        """Ask for the server that `current` now leads to; when that was."""
        now = Instant.now()
        self.process.send_signal(signal.SIGHUP)
        return now

    def stop(self) -> None:
        """End it, and all that it started."""
        if self._process is not None and self._process.returncode is None:
            for number in (signal.SIGTERM, signal.SIGKILL):
                self._process.send_signal(number)
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(PATIENCE)
                    break
        for server in self.servers():
            with suppress(psutil.Error):
                server.kill()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The one that we started. Raises BenchmarkError if it has ended."""
        if self._process is None or self._process.poll() is not None:
            raise BenchmarkError(f"{self.title} has ended by itself; it said:\n{self.said()}")
        return self._process

    def said(self) -> str:
        """The end of its log."""
        return (self.place.folder / f"{self.name}.log").read_text(encoding="utf-8", errors="replace")[-2000:]

    def servers(self, version: str = "") -> list[psutil.Process]:
        """The servers that run, of one version or of any: by the file that they run, which is nobody else's."""
        folder = self.place.folder / version
        return [each for each in psutil.process_iter() if _runs_from(each, folder)]

    def supervisors(self) -> list[psutil.Process]:
        """Its own processes: what it started that is not a server."""
        root = psutil.Process(self.process.pid)
        return [each for each in (root, *root.children(recursive=True)) if not _runs_from(each, self.place.folder)]

    def own(self) -> dict[str, list[float]]:
        """Spans that it measured itself."""
        return {}


class Plain(Tool):
    """No supervisor at all: what `systemctl restart` does."""

    name = "plain"
    title = "plain restart"
    how = "`TERM`, wait for the exit, start again on the same address"

    def command(self) -> list[str]:
        """The server alone; it is also the bare server that start-ups are compared with."""
        return [str(self.place.current), "-addr", self.address]

    def upgrade(self) -> Instant:
        """Ends it and starts it again: the only one that we wait for."""
        old = self.process
        exited = os.pidfd_open(old.pid)
        try:
            now = Instant.now()
            old.send_signal(signal.SIGTERM)
            if not select.select([exited], [], [], PATIENCE)[0]:
                old.kill()
        finally:
            os.close(exited)
        old.wait()
        self.start()
        return now

    def supervisors(self) -> list[psutil.Process]:
        """None: that would be systemd, which is there anyway."""
        return []


class Starter(Tool):
    """Debian's libserver-starter-perl."""

    name = "start_server"
    title = "start_server"
    how = "`HUP`; defaults"

    def command(self) -> list[str]:
        """With the socket where the server looks for it."""
        return ["start_server", f"--port={self.address}=3", "--", str(self.place.current)]

    def environment(self) -> Mapping[str, str]:
        """Its own dialect is another (SERVER_STARTER_PORT)."""
        return {"LISTEN_FD": "3"}


class Circus(Tool):
    """PyPI's circus."""

    name = "circus"
    title = "circus"
    how = "`HUP`, which is `circusctl reload` without the start of circusctl itself (0.1 s); defaults"
    daemon: ClassVar[Path]

    def command(self) -> list[str]:
        """Its socket's number comes as an argument only, hence the shell."""
        host, _, port = self.address.partition(":")
        endpoints = "\n".join(
            f"{key} = ipc://{self.place.sockets}/circus-{key}" for key in ("endpoint", "pubsub_endpoint")
        )
        config = self.place.folder / "circus.ini"
        config.write_text(
            f"[circus]\n{endpoints}\n"
            "[watcher:server]\n"
            f"cmd = /bin/sh -c 'LISTEN_FD=$0 exec {self.place.current}' $(circus.sockets.web)\n"
            "use_sockets = True\ncopy_env = True\n"
            f"[socket:web]\nhost = {host}\nport = {port}\n",
            encoding="utf-8",
        )
        return [str(self.daemon), str(config)]


class Gapless(Tool):
    """This project."""

    name = "gapless"
    title = "gapless"
    how = '`HUP`; probation = "1s", preflight.refuse = "nothing", otherwise defaults'
    probation: ClassVar[str] = "1s"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._service = f"benchmark-{os.getpid()}"
        self._control = place.sockets / "gapless"
        self._client = Client(self._control)
        self._had_runtime = Path("/run/gapless").exists()

    def command(self) -> list[str]:
        """A service of its own, which shares no path with another."""
        config = self.place.folder / "gapless.toml"
        config.write_text(
            f"[service]\nname = {json.dumps(self._service)}\n"
            f"command = [{json.dumps(str(self.place.current))}]\n"
            f"state_dir = {json.dumps(str(self.place.folder / 'state'))}\n"
            + "".join(f"[[listen]]\naddress = {json.dumps(each)}\n" for each in self.addresses())
            + f'[handoff]\nprobation = "{self.probation}"\n'
            + '[preflight]\nrefuse = "nothing"\n'  # the others do not look at the file either
            f"[control]\nsocket = {json.dumps(str(self._control))}\n",
            encoding="utf-8",
        )
        return [str(Path(sys.executable).parent / "gapless"), "run", str(config)]

    def addresses(self) -> list[str]:
        """Of its listeners."""
        return [self.address]

    def environment(self) -> Mapping[str, str]:
        """Where it would keep its sockets if we are not root."""
        return {"XDG_RUNTIME_DIR": str(self.place.sockets)}

    def stop(self) -> None:
        """As root it has a folder in /run."""
        super().stop()
        with suppress(OSError):
            Path("/run/gapless", self._service).rmdir()
            if not self._had_runtime:
                Path("/run/gapless").rmdir()

    def own(self) -> dict[str, list[float]]:
        """What its history says of the handoffs that were committed."""
        spans: dict[str, list[float]] = {}
        for each in self.history():
            if each["result"] == "committed" and each["ready_to_steered"] is not None:
                spans.setdefault("ready to steered", []).append(each["ready_to_steered"])
                for phase, spent in each["phases"].items():
                    spans.setdefault(phase, []).append(spent)
        return spans

    def history(self) -> list[dict[str, Any]]:
        """Every handoff that has ended, the last one last. Raises BenchmarkError."""
        try:
            return list(self._client.call("GET", "/v1/history")["handoffs"])
        except GaplessError as error:
            raise BenchmarkError(f"gapless does not tell its history: {error}") from error


TOOLS: tuple[type[Tool], ...] = (Plain, Starter, Circus, Gapless)


def free_port() -> int:
    """One that nobody has, chosen by the kernel."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


def answers(port: int) -> bool:
    """Whether the server answers one request, however long that takes within reason."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), PATIENCE) as asked:
        asked.sendall(b"GET / HTTP/1.1\r\nHost: benchmark\r\nConnection: close\r\n\r\n")
        return asked.recv(64).startswith(b"HTTP/1.1 200")
    return False


def _clean() -> dict[str, str]:
    """Our environment, without what a supervisor of ours told us about sockets."""
    ours = ("LISTEN_", "NOTIFY_SOCKET", "READY_FD", "SERVER_STARTER_", "GAPLESS_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def _runs_from(process: psutil.Process, folder: Path) -> bool:
    """By what it is now: psutil remembers what a process was that has become another by exec."""
    try:
        return Path(f"/proc/{process.pid}/exe").readlink().is_relative_to(folder)
    except OSError:
        return False
