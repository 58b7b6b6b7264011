"""What the demonstration runs on: a temporary folder, the supervisor, the load, and an end that leaves nothing."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from demo.releases import ROOT
from supervisor.control.client import Client
from supervisor.errors import GaplessError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from demo.releases import Release

RATE = 1500
PROBATION = 3.0
READY_TIMEOUT = 2.0

_KEPT = 20
_PATIENCE = 20.0
_LONGEST_FOLDER = 60
"""Bytes: the path of a socket has at most 107 (unix(7))."""

_CONFIG = """\
[service]
name = {name}
command = [{current}, "-log-connections", {connections}]
stdout = {server_log}
stderr = {server_log}
state_dir = {state}

[[listen]]
address = "127.0.0.1:0"

[ready]
timeout = "{ready_timeout:g}s"

[handoff]
probation = "{probation:g}s"

[control]
socket = {control}
"""


class StageError(Exception):
    """Something of the demonstration's own did not work: nothing can be said of the supervisor."""


class Stage:
    """Everything that runs, from the first folder to the last process."""

    def __init__(self) -> None:
        base = tempfile.gettempdir()
        self.folder = Path(
            tempfile.mkdtemp(prefix="gapless-demo.", dir=base if len(base) < _LONGEST_FOLDER else "/tmp")  # noqa: S108 - mkdtemp makes a private folder; the path must be short
        )
        self.name = f"demo-{os.getpid()}"
        self.connections = self.folder / "connections"
        self.record = self.folder / "record.csv"
        self.events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.live: dict[str, Any] = {}
        self.address = ""
        self.status: int | None = None
        """The supervisor's exit status, once it has ended."""
        self.servers: list[int] = []
        self._client = Client(self.folder / "control.sock")
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._load: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._had_runtime = Path("/run/gapless").exists()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # nothing may come between us and the end
        try:
            self._end_load()
            self._end_supervisor()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
            self._remove_runtime()

    # ---- what is done on it

    def deploy(self, release: Release) -> None:
        """Make `current` point to a release: at no instant is it not there."""
        fresh = self.folder / "current.new"
        fresh.symlink_to(release.path)
        fresh.rename(self.folder / "current")

    def start(self) -> None:
        """Start the supervisor with what is deployed, and wait until it serves."""
        config = self.folder / "demo.toml"
        config.write_text(self._config(), encoding="utf-8")
        runtime = self.folder / "run"
        runtime.mkdir(mode=0o700)
        with (self.folder / "gapless.log").open("wb") as log:
            self._supervisor = subprocess.Popen(
                [Path(sys.executable).parent / "gapless", "run", config],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=os.environ | {"XDG_RUNTIME_DIR": str(runtime)},
                process_group=0,  # a Ctrl-C is ours to deal with
            )
        self._await_serving()
        threading.Thread(target=self._listen, daemon=True).start()

    def hup(self) -> None:
        """Tell the supervisor to hand over."""
        self._process.send_signal(signal.SIGHUP)

    @property
    def pid(self) -> int:
        """The supervisor's."""
        return self._process.pid

    def start_load(self) -> None:
        """Begin to send requests, and wait for the first answers."""
        command = [str(ROOT / "build/bin/load"), "-target", self.address, "-rate", str(RATE), "-mode", "both"]
        command += ["-connections", str(_KEPT), "-duration", "0", "-live", "-record", str(self.record)]
        self._load = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, process_group=0
        )
        self._reader = threading.Thread(target=self._read_load, args=(self._load,), daemon=True)
        self._reader.start()
        deadline = time.monotonic() + _PATIENCE
        while not self.live.get("requests"):
            if self._load.poll() is not None or time.monotonic() > deadline:
                raise StageError("the load generator does not send anything")
            time.sleep(0.01)

    def end_load(self) -> dict[str, Any]:
        """Let the load end; its summary."""
        self._end_load()
        if "by_mode" not in self.live:
            raise StageError("the load generator ended without its summary")
        return self.live

    def end_supervisor(self) -> int:
        """Ask the supervisor to stop; its exit status."""
        self._end_supervisor()
        if self.status is None:
            raise StageError("the supervisor was never started")
        return self.status

    def log(self) -> Iterator[dict[str, Any]]:
        """The supervisor's log."""
        for line in (self.folder / "gapless.log").read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):
                yield json.loads(line)

    # ---- how

    @property
    def _process(self) -> subprocess.Popen[bytes]:
        if self._supervisor is None:
            raise StageError("the supervisor was never started")
        return self._supervisor

    def _config(self) -> str:
        paths = {"current": "current/server", "server_log": "server.log", "state": "state", "control": "control.sock"}
        quoted = {key: json.dumps(str(self.folder / path)) for key, path in paths.items()}
        return _CONFIG.format(
            **quoted,
            name=json.dumps(self.name),
            connections=json.dumps(str(self.connections)),
            ready_timeout=READY_TIMEOUT,
            probation=PROBATION,
        )

    def _await_serving(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with suppress(GaplessError):
                status = self._client.call("GET", "/v1/status")
                self.servers = [each["pid"] for each in status["generations"] if each["pid"]]
                if any(each["role"] == "serving" and each["life"] == "ready" for each in status["generations"]):
                    self.address = status["listeners"][0]["address"]
                    return
            time.sleep(0.02)
        said = (self.folder / "gapless.log").read_text(encoding="utf-8", errors="replace")[-2000:]
        raise StageError(f"gapless does not begin to serve; it said:\n{said}")

    def _listen(self) -> None:
        with suppress(GaplessError), self._client.events() as events:
            for event in events:
                if event["event"] == "generation_started":
                    self.servers.append(event["pid"])
                self.events.put(event)

    def _read_load(self, load: subprocess.Popen[str]) -> None:
        if load.stdout is not None:
            for line in load.stdout:
                with suppress(ValueError):
                    self.live = json.loads(line)

    def _end_load(self) -> None:
        if self._load is None:
            return
        self._load.send_signal(signal.SIGINT)
        try:
            self._load.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._load.kill()
            self._load.wait()
        if self._reader is not None:
            self._reader.join(_PATIENCE)

    def _end_supervisor(self) -> None:
        if self._supervisor is None:
            return
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            self._supervisor.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                self.status = self._supervisor.wait(_PATIENCE)
                break
        for pid in self.left_behind():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def left_behind(self) -> list[int]:
        """Server processes of ours that are still there: their environment says whose they are."""
        mark = f"GAPLESS_SERVICE={self.name}".encode()
        found = []
        for pid in self.servers:
            with suppress(OSError):
                if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    found.append(pid)
        return found

    def _remove_runtime(self) -> None:
        """For root, the supervisor keeps its sockets in /run/gapless/NAME: empty by now."""
        with suppress(OSError):
            Path("/run/gapless", self.name).rmdir()
            if not self._had_runtime:
                Path("/run/gapless").rmdir()
