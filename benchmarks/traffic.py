"""The load: benchmarks/load in its own process, and the record that it leaves."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from benchmarks.figures import Request
from benchmarks.host import ROOT
from benchmarks.tools import PATIENCE, BenchmarkError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

CONNECTIONS = 10
_MICRO = 1e-6


class Traffic:
    """Requests from entering to `end`: open loop, half with a connection of their own, half on kept ones."""

    def __init__(self, address: str, rate: float, folder: Path) -> None:
        self._record = folder / "record.csv"
        command = [str(ROOT / "build/bin/load"), "-target", address, "-rate", str(rate), "-mode", "both"]
        command += ["-connections", str(CONNECTIONS), "-duration", "0", "-record", str(self._record)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, process_group=0
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def end(self) -> tuple[list[Request], float]:
        """Let it end; every request, and p99.9 in seconds of how late the generator itself was."""
        self._process.send_signal(signal.SIGINT)
        said = b""
        with suppress(subprocess.TimeoutExpired):
            said, _ = self._process.communicate(timeout=PATIENCE)
        try:
            summary = json.loads(said.splitlines()[-1])
            lateness = summary["lateness_us"]["p999"] * _MICRO
        except (IndexError, KeyError, ValueError) as error:
            raise BenchmarkError(f"the load generator ended without its summary: {said.decode()[-500:]}") from error
        with self._record.open(newline="", encoding="utf-8") as lines:
            requests = [
                Request(
                    due := float(each["due"]), due + int(each["latency_us"]) * _MICRO, each["version"], each["kind"]
                )
                for each in csv.DictReader(lines)
            ]
        self._record.unlink()
        if len(requests) != summary["requests"] or sum(not each.kind for each in requests) != summary["ok"]:
            raise BenchmarkError("the record of the load generator is not what its summary says")
        return requests, lateness
