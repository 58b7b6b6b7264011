"""One instance of gapless@.service in a box, and its journal as a stream of events to wait for."""

import json
import os
import select
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from tests.systemd.box import Box

PATIENCE = 20.0
OURS = "GAPLESS_"
NUMBERS = {"candidate", "count", "deaths", "from_generation", "generation", "handoff", "pid", "run", "to_generation"}

Entry = dict[str, Any]

CONFIGURATION = """\
[service]
name = "{name}"
command = {command}
[[listen]]
name = "http"
address = "127.0.0.1:{port}"
[ready]
timeout = "{ready}"
[handoff]
probation = "{probation}"
[drain]
timeout = "10s"
[stop]
timeout = "{stop}"
"""


class Lines:
    """Lines from a process, each waited for with a deadline."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.process.stdout is not None
        self._fd = self.process.stdout.fileno()
        self._rest = b""
        self.seen: list[str] = []

    def until(self, wanted: Callable[[str], bool], what: str) -> str:
        """The next line that is wanted."""
        deadline = time.monotonic() + PATIENCE
        while True:
            while b"\n" in self._rest:
                line, _, self._rest = self._rest.partition(b"\n")
                self.seen.append(line.decode())
                if wanted(self.seen[-1]):
                    return self.seen[-1]
            ready, _, _ = select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))
            more = os.read(self._fd, 1 << 16) if ready else b""
            tail = "\n".join(self.seen[-30:])
            assert more, f"{'the end came' if ready else f'{PATIENCE} s passed'} before {what}:\n{tail}"
            self._rest += more

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Unit:
    """gapless@NAME.service, with a folder that the box sees as /run/share/NAME."""

    def __init__(self, box: Box, name: str, port: int, folder: Path) -> None:
        self.box = box
        self.name = name
        self.port = port
        self.unit = f"gapless@{name}.service"
        self._folder = folder
        folder.mkdir()
        # fmt: off
        self._journal = Lines(["journalctl", f"--directory={box.journal}", "--unit", self.unit,
                               "--follow", "--lines=all", "--output=json"])
        # fmt: on

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.box.run("systemctl", "kill", "--signal=KILL", self.unit)
        self.box.run("systemctl", "stop", self.unit)
        self.box.run("systemctl", "kill", "--signal=KILL", self.unit)
        self.box.run("systemctl", "reset-failed", self.unit)
        self._journal.close()

    def configure(self, *flags: str, ready: str = "10s", stop: str = "10s", probation: str = "300ms") -> None:
        """Write its configuration; the server is run with these flags."""
        command = json.dumps([f"/run/share/{self.name}/current", *flags])
        text = CONFIGURATION.format(
            name=self.name, command=command, port=self.port, ready=ready, stop=stop, probation=probation
        )
        (self.box.root / f"etc/gapless/{self.name}.toml").write_text(text)

    def drop_in(self, *lines: str) -> None:
        """Change the unit's [Service] as an operator does."""
        folder = self.box.root / f"run/systemd/system/{self.unit}.d"
        folder.mkdir(exist_ok=True)
        (folder / "test.conf").write_text("\n".join(["[Service]", *lines, ""]))
        self.box.systemctl("daemon-reload")

    def release(self, server: Path) -> None:
        """Let `current` name another file, as a deployment does: at one instant."""
        new = self._folder / "new"
        new.symlink_to(f"/run/share/servers/{server.name}")
        new.rename(self._folder / "current")

    def start(self) -> None:
        """Start it; it has to come up."""
        done = self.box.run("systemctl", "start", self.unit)
        assert done.returncode == 0, done.stderr + self.log()

    def show(self, name: str) -> str:
        """One of its properties, as systemd has it."""
        return self.box.systemctl("show", "--property", name, "--value", self.unit).strip()

    def history(self) -> list[str]:
        """How its handoffs ended."""
        path = self.box.root / f"var/lib/gapless/{self.name}/history.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [entry["result"] for entry in map(json.loads, lines) if "result" in entry]

    def log(self) -> str:
        """What its journal says, as an operator asks for it."""
        return self.box.succeed("journalctl", "--no-pager", "--unit", self.unit, "--output=cat")

    def happened(self, event: str, **fields: object) -> Entry:
        """Wait for the next event of gapless that is this one; its journal entry, and in `event` what gapless told."""

        def wanted(line: str) -> bool:
            said = _event(json.loads(line))
            return said.get("event") == event and all(said.get(name) == value for name, value in fields.items())

        return self._entry(wanted, f"{event} {fields}")

    def said(self, text: str) -> Entry:
        """Wait for the next line with this text, by anybody."""
        return self._entry(lambda line: text in str(json.loads(line)["MESSAGE"]), repr(text))

    def environment(self, pid: int) -> dict[str, str]:
        """What a process (the box's pid) was started with."""
        block = (self.box.root / f"proc/{pid}/environ").read_text()
        return dict(item.split("=", 1) for item in block.split("\0") if item)

    def wait(self, holds: Callable[[], bool], what: str) -> None:
        """Ask systemd again and again for what it tells nobody."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, f"{PATIENCE} s passed, and not: {what}"

    def cgroup(self, pid: int) -> str:
        """That of a process (the box's pid), as the box has it."""
        return self.box.succeed("sed", "-n", "s/^0:://p", f"/proc/{pid}/cgroup").strip()

    def cgroups(self) -> list[Path]:
        """All in its cgroup, by the paths that the host has for them."""
        top = self.box.root / f"sys/fs/cgroup/system.slice/system-gapless.slice/{self.unit}"
        with suppress(FileNotFoundError):
            return [Path(folder) for folder, _, _ in os.walk(top)]
        return []

    def processes(self) -> list[int]:
        """The pids (the box's) in its cgroup."""
        found: list[int] = []
        for folder in self.cgroups():
            # read inside: a pid is told in the reader's own pid namespace
            inside = "/" + str(folder.relative_to(self.box.root))
            found += map(int, self.box.run("cat", f"{inside}/cgroup.procs").stdout.split())
        return found

    def _entry(self, wanted: Callable[[str], bool], what: str) -> Entry:
        entry: Entry = json.loads(self._journal.until(wanted, what))
        entry["event"] = _event(entry)
        return entry


def _event(entry: Entry) -> Entry:
    fields = {name.removeprefix(OURS).lower(): value for name, value in entry.items() if name.startswith(OURS)}
    return {name: int(value) if name in NUMBERS else value for name, value in fields.items()}


class Load:
    """build/bin/load at work in a box, from its first answered request on."""

    def __init__(self, program: Path, box: Box, port: int) -> None:
        # fmt: off
        self._lines = Lines(box.on_network(
            str(program), "-target", f"127.0.0.1:{port}", "-rate", "500", "-mode", "both", "-duration", "0", "-live"))
        # fmt: on

    def __enter__(self) -> Self:
        self._lines.until(lambda line: json.loads(line)["requests"] > 0, "the first request")
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()

    def answered_by(self, version: str) -> None:
        """Wait until that version answers, and nobody else."""
        self._lines.until(lambda line: list(json.loads(line)["versions"]) == [version], f"answers by {version} alone")

    def end(self) -> Entry:
        """Stop it, and wait for its summary."""
        self._lines.process.terminate()
        summary: Entry = json.loads(self._lines.until(lambda line: "latency_us" in line, "the summary"))
        return summary
