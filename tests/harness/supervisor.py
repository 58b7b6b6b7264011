"""`gapless run` as a real process, with all that a test wants to ask of it."""

import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from supervisor.control.client import Client
from tests.harness import proc
from tests.harness.builds import ROOT
from tests.harness.network import Network
from tests.harness.output import DEADLINE, Event, Output, piped

_numbers = itertools.count(1)

_HAND_OVER = """
import fcntl, os, sys
fds = [fcntl.fcntl(int(word), fcntl.F_DUPFD_CLOEXEC, 100) for word in sys.argv[1].split()]
for number, fd in enumerate(fds, 3):
    os.dup2(fd, number)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(fds))}
os.execv(sys.argv[2], sys.argv[2:])
"""
"""What systemd does before its exec: sockets at 3, 4, ... and the pid that they are meant for."""


class Logged(NamedTuple):
    """A connection that a server has accepted."""

    port: int
    """The client's."""
    pid: int
    """Of who accepted it."""
    at: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the server."""

    status: int
    version: str | None
    pid: int
    body: str


class Supervisor:
    """One service in a folder of its own. Its command is `current`, a symlink that `use` sets."""

    def __init__(self, folder: Path, network: Network | None = None) -> None:
        self.folder = folder
        self.network = network or Network()
        self.name = f"test-{os.getpid()}-{next(_numbers)}"
        self.current = folder / "current"
        self.connections = folder / "connections.log"
        self.control = folder / "control.sock"
        self.path = folder / "gapless.toml"
        self.handed: dict[str, socket.socket] = {}
        """Sockets that it is started with, as systemd would."""
        self.arguments: tuple[str, ...] = ()
        """What it is run with instead of a file."""
        self.code = ROOT
        """The checkout, or a copy of it, that it runs from."""
        self.may_trace = False
        """The server's own tracebacks are expected."""
        self.tables: dict[str, Any] = {
            "service": {
                "name": self.name,
                "command": [str(self.current), "-log-connections", str(self.connections)],
                "state_dir": str(folder / "state"),
            },
            "listen": [{"name": "http", "address": "127.0.0.1:0"}],
            "ready": {"timeout": "20s"},
            "handoff": {"probation": "0s"},
            "preflight": {"refuse": "nothing"},  # a look takes longer than a handoff; who tests it says otherwise
            "control": {"socket": str(self.control)},
        }
        self.connections.touch(mode=0o666)
        self.process: subprocess.Popen[str]
        self.output: Output
        self._sockets: list[socket.socket] = []
        self._runtime = Path("/run/gapless") / self.name
        self._environment = os.environ | {"PWD": str(ROOT)}
        if os.geteuid() != 0:
            self._runtime = Path(tempfile.mkdtemp(prefix="g."))  # names of sockets in it have to be short
            self._environment["XDG_RUNTIME_DIR"] = str(self._runtime)

    # ---- before it runs

    def use(self, program: Path | str) -> None:
        """Let this be the release that the next handoff finds."""
        new = self.folder / "current.new"
        new.unlink(missing_ok=True)
        new.symlink_to(program)
        new.replace(self.current)

    def configure(self, **tables: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
        """Change keys, table by table; None takes one out. The file is exchanged: a HUP may be reading it."""
        for table, change in tables.items():
            if isinstance(change, Mapping):
                merged = {**self.tables.get(table, {}), **change}
                self.tables[table] = {key: value for key, value in merged.items() if value is not None}
            else:
                self.tables[table] = list(change)
        new = self.path.with_suffix(".new")
        new.write_text(_toml(self.tables))
        new.replace(self.path)

    def spawn(self, environment: Mapping[str, str] | None = None, says: IO[bytes] | None = None) -> None:
        """Start it, and wait for nothing. It is handed what `handed` has, by name. `says`: to where it writes."""
        if not self.path.exists():
            self.configure()
        fds = [sock.fileno() for sock in self.handed.values()]
        named = {"LISTEN_FDNAMES": ":".join(self.handed)} if fds else {}
        launcher = [sys.executable, "-c", _HAND_OVER, " ".join(map(str, fds))] if fds else []
        self.process = subprocess.Popen(
            [*self.network.prefix, *launcher, *_gapless(), "run", *(self.arguments or (str(self.path),))],
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if says is None else says,
            stderr=subprocess.STDOUT,
            env=self._environment | named | dict(environment or {}),
            cwd=self.code,
            text=True,
            start_new_session=True,
        )
        if says is None:
            self.output = Output(piped(self.process))
        else:
            says.close()

    def keep_output(self) -> IO[bytes]:
        """One more end of the pipe that it writes to, for the next one, whose words follow on its own."""
        return Path(f"/proc/{self.pid}/fd/1").open("wb", buffering=0)

    def kill(self) -> IO[bytes]:
        """End the supervisor alone, by KILL; where it wrote."""
        kept = self.keep_output()
        self.process.kill()
        self.process.wait()
        return kept

    def taken_over(self) -> Event:
        """Kill it and start the next, which goes on from what was left."""
        mark = self.mark()
        self.spawn(says=self.kill())
        return self.event("taken_over", mark)

    def lives(self) -> bool:
        """Whether it does; one that has been killed is waited for."""
        try:
            self.process.wait(0.1)
        except subprocess.TimeoutExpired:
            return True
        return False

    def ends_or(self, since: int, name: str) -> None:
        """Wait until it has ended or said that."""
        self.output.until(
            f"its end or {name}", lambda: self.process.poll() is not None or self.events(name, since=since), step=0.01
        )

    def settled(self, since: int) -> None:
        """Wait until no handoff is under way, and nobody but the serving generation is there."""
        status = self.status()
        if status["handoff"] is not None:
            self.event("handoff_ended", since, handoff=status["handoff"]["handoff"])
            status = self.status()
        for each in status["generations"]:
            if each["role"] == "draining":
                self.event("generation_ended", since, generation=each["generation"])
            elif each["life"] != "ready":
                self.event("generation_ready", since, generation=each["generation"])

    def start(self, program: Path | str | None = None, environment: Mapping[str, str] | None = None) -> None:
        """Start it, and wait until its first generation serves."""
        if program is not None:
            self.use(program)
        self.spawn(environment)
        self.event("generation_ready", generation=1)

    # ---- while it runs

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def address(self) -> str:
        """HOST:PORT of the first listener, as it was told last."""
        name = self.event("listening")["name"]
        return str([each["address"] for each in self.events("listening") if each["name"] == name][-1])

    @property
    def addresses(self) -> list[str]:
        """Of all listeners, in the order of the configuration."""
        return [str(each["address"]) for each in self.events("listening")]

    @property
    def endpoint(self) -> tuple[str, int]:
        host, _, port = self.address.rpartition(":")
        return host.strip("[]"), int(port)

    def mark(self) -> int:
        """Now, as a place in the events."""
        return len(self.output.events)

    def event(self, name: str, /, since: int = 0, timeout: float = DEADLINE, **fields: Any) -> Event:  # noqa: ANN401 - JSON
        """Wait for the first event of that name (and fields) since the mark."""
        return self.output.event(since, timeout, event=name, **fields)

    def events(self, *names: str, since: int = 0) -> list[Event]:
        """Those that have been, in order."""
        return [each for each in list(self.output.events)[since:] if each["event"] in names]

    def signal(self, number: int) -> int:
        """Send it; the mark from before."""
        mark = self.mark()
        self.process.send_signal(number)
        return mark

    def hup(self, program: Path | str | None = None) -> Event:
        """A handoff by HUP, to its end."""
        if program is not None:
            self.use(program)
        return self.event("handoff_ended", self.signal(signal.SIGHUP))

    def upgrade(self, program: Path | str | None = None) -> Event:
        """A handoff by HUP that must commit."""
        ended = self.hup(program)
        assert ended["result"] == "committed", ended
        return ended

    def pid_of(self, generation: int) -> int:
        """The newest process of a generation."""
        started = [each for each in self.events("generation_started") if each["generation"] == generation]
        return int(started[-1]["pid"])

    def waiting(self) -> int:
        """The process that waits to become the next generation, once it is there."""
        serving = self.serving()["pid"]

        def found() -> set[int]:
            return self.made_ahead() & set(proc.children(self.pid)) - {serving}

        (pid,) = self.output.until("a process that waits", found, step=0.05)
        return int(pid)

    def made_ahead(self) -> set[int]:
        """The processes that have waited to become a generation."""
        return {int(each["pid"]) for each in self.events("made_ahead")}

    def serving(self) -> dict[str, Any]:
        """The generation that serves, as status tells it."""
        (found,) = [each for each in self.status()["generations"] if each["role"] == "serving"]
        return dict(found)

    def digest(self) -> str:
        """The sha256 of what serves. It is read after a start, and no event tells of it."""
        return str(
            self.output.until("the digest of what serves", lambda: self.serving()["release"]["sha256"], step=0.01)
        )

    def status(self) -> dict[str, Any]:
        return self.client().call("GET", "/v1/status")

    def history(self) -> list[dict[str, Any]]:
        return list(self.client().call("GET", "/v1/history")["handoffs"])

    def client(self) -> Client:
        return Client(self.control)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One of the other commands, to its end."""
        return subprocess.run(
            [*_gapless(), words[0], "--socket", str(self.control), *words[1:]],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=self._environment,
            check=False,
            timeout=DEADLINE,
        )

    def connect(self) -> socket.socket:
        """A connection, which is closed with this at the latest."""
        self._sockets.append(self.network.connect(self.endpoint))
        return self._sockets[-1]

    def ask(self, path: str = "/") -> socket.socket:
        """Send a request on a connection of its own; `answer` reads what comes."""
        sock = self.connect()
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
        return sock

    def get(self, path: str = "/") -> Answer:
        return answer(self.ask(path))

    def connection_log(self) -> list[Logged]:
        """What servers have written down, in order."""
        lines = (line.split() for line in self.connections.read_text().splitlines())
        return [Logged(int(port), int(pid), float(at)) for _, port, pid, _, at in lines]

    # ---- the end

    def ended(self, timeout: float = DEADLINE) -> int:
        """Wait for its end: the exit status."""
        return self.process.wait(timeout)

    def stop(self) -> int:
        """By TERM; the exit status."""
        self.signal(signal.SIGTERM)
        return self.ended()

    def left_behind(self) -> list[int]:
        """Processes that this service has started and that still are."""
        return proc.bearing("GAPLESS_SERVICE", self.name)

    def close(self) -> None:
        """End whatever is left, and look whether the supervisor itself had a bug."""
        if not hasattr(self, "process"):
            return
        for each in self._sockets:
            each.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        while left := self.left_behind():
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                proc.gone(pid, DEADLINE)
        self.output.close()
        shutil.rmtree(self._runtime, ignore_errors=True)
        bugs = [each for each in self.output.events if each["level"] == "critical" or each["event"] == "control_failed"]
        assert not bugs, bugs
        if not self.may_trace:
            traces = [line for line in self.output.text if line.startswith("Traceback")]
            assert not traces, "\n".join(self.output.text)


def answer(sock: socket.socket) -> Answer:
    """Read the answer to a request, and close."""
    with sock:
        response = http.client.HTTPResponse(sock)
        response.begin()
        body = response.read().decode()
        version, pid = response.getheader("X-Version"), response.getheader("X-Pid")
        return Answer(response.status, version, int(pid or 0), body)


def _gapless() -> list[str]:
    """This checkout's own, wherever the installed one may come from: run with ROOT as the folder."""
    return [sys.executable, "-m", "supervisor"]


def _toml(tables: Mapping[str, Any]) -> str:
    lines = []
    for name, table in tables.items():
        heading = f"[[{name}]]" if isinstance(table, list) else f"[{name}]"
        for each in table if isinstance(table, list) else [table]:
            lines += [heading, *(f"{key} = {_value(value)}" for key, value in each.items()), ""]
    return "\n".join(lines)


def _value(value: Any) -> str:  # noqa: ANN401 - what TOML can say
    """TOML's strings, numbers and arrays look as JSON's do; its inline tables nearly so."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)
