"""docs/walk-through.md as it is: its commands, said to one shell one after the other, and what they print.

What is written down there is of one machine and one day. So what is compared is what stays: the words, without numbers,
digests and units, and without what is said of Go's version, for the suite makes do with the one Go that is there.

`scripts/walk-through` does it with both versions of Go, and writes what was printed into the page.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tests.harness import proc
from tests.harness.builds import ROOT
from tests.harness.network import free_ports

PAGE = ROOT / "docs/walk-through.md"
_BLOCK = re.compile(r"```sh\n(?P<commands>.*?)```\n(?:\n```\n(?P<printed>.*?)```\n)?", re.DOTALL)
_MARK = "=== done ==="
_PATIENCE = 110
"""Seconds for the commands; a Go toolchain that has to come first is given its own."""
_DOWNLOAD = 900
_numbers = count(1)

_GONE = re.compile(
    r"\b[0-9a-f]{7,64}\b|[\d,.:]+( ?(µs|ms|s|min|h|B|K|M|G)\b)?| +"
    r"|(?<=by )\w+|(?<=linux-)\w+|process groups|cgroups"
)
"""What is not the same twice: digests, figures with their units, the width of columns, whose machine it is."""


@dataclass(frozen=True, slots=True)
class Step:
    """Commands, and what the page says that they print (nothing: it does not say)."""

    commands: str
    printed: str


@dataclass(frozen=True, slots=True)
class Walked:
    """What came of it."""

    printed: list[str]
    """By each step, with the names of the page."""
    status: int
    load: str
    """The load generator's summary, as JSON."""


def steps() -> list[Step]:
    """The page's."""
    return [Step(found["commands"], found["printed"] or "") for found in _BLOCK.finditer(PAGE.read_text())]


def walk(*, both: bool = False) -> Walked:
    """Run all of them in a folder of their own. `both`: with the two versions of Go that the page has."""
    site = Path(tempfile.mkdtemp(prefix="g.", dir="/tmp"))  # sockets in it have to have short names
    name = f"walk-{os.getpid()}-{next(_numbers)}"
    address = f"127.0.0.1:{free_ports(1)[0]}"
    names = {'name = "web"': f'name = "{name}"', "/srv/web": f"{site}/web", "127.0.0.1:8080": address}
    names["build/release/"] = f"{site}/release/"
    script = "\n".join(f"{each.commands}\necho; echo '{_MARK}'" for each in steps())
    if not both:
        script = re.sub(r"--go \S+ ", "", script).replace('probation = "2s"', 'probation = "300ms"')
    try:
        printed, status = _run(_replaced(script, names), name, site, _DOWNLOAD if both else _PATIENCE)
        summary = (site / "web/load.json").read_text() if (site / "web/load.json").exists() else ""
    finally:
        _end(name)
        subprocess.run(["chmod", "-R", "u+w", site], check=True)  # releases are sealed
        shutil.rmtree(site)
    page = {**{real: written for written, real in names.items()}, name: "web"}
    return Walked([_replaced(each, page) for each in printed], status, summary)


def _run(script: str, name: str, site: Path, patience: float) -> tuple[list[str], int]:
    """What each step has printed, and the exit status of the first that failed, or 0."""
    which = f'gapless() {{ [[ $1 =~ ^({_ASK})$ ]] && set -- "$@" --service {name}; command gapless "$@"; }}'
    said = site / "said"
    environment = os.environ | {"RELEASES": f"{site}/release", "STATE_DIRECTORY": f"{site}/state", "COLUMNS": "110"}
    environment |= {"RUNTIME_DIRECTORY": f"{site}/{name}"}
    with said.open("wb") as out:
        shell = subprocess.Popen(
            ["bash", "-e", "-c", f"{which}\n{script}"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        status = shell.wait(patience)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
    return [each.strip("\n") for each in said.read_text().split(f"{_MARK}\n")], status


_ASK = "status|upgrade|rollback|diff|history|stop"
"""Commands that ask a supervisor: others may run beside the page's."""


def _end(name: str) -> None:
    for pid in proc.bearing("GAPLESS_SERVICE", name):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _replaced(text: str, names: Mapping[str, str]) -> str:
    for old, new in names.items():
        text = text.replace(old, new)
    return text


def words(text: str) -> list[str]:
    """What is the same each time, line by line, and with a single Go."""
    of_one_go = re.sub(r"^build\n( .*\n?)*", "", text, flags=re.MULTILINE)
    lines = [line for line in of_one_go.splitlines() if not re.search(r"\bgo1\.|^ +size ", line)]
    return [_GONE.sub(" ", line).strip() for line in lines]


def _write() -> int:
    """Have the page say what its commands print now."""
    walked = walk(both=True)
    if walked.status:
        print(*walked.printed, sep="\n", file=sys.stderr)
        return 1
    printed = iter(walked.printed)

    def block(found: re.Match[str]) -> str:
        said = "\n".join(line for line in next(printed).splitlines() if "PyPI" not in line)
        shown = f"\n```\n{said}\n```\n" if said else ""
        return f"```sh\n{found['commands']}```\n{shown}"

    PAGE.write_text(_BLOCK.sub(block, PAGE.read_text()))
    print(walked.load)
    return 0


if __name__ == "__main__":
    sys.exit(_write())
