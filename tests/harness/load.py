"""The load generator, run beside a test, and what it found."""

import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.harness import builds
from tests.harness.network import Network
from tests.harness.output import DEADLINE, Output, piped


@dataclass(frozen=True, slots=True)
class Failure:
    """One request that got no right answer."""

    at: float
    due: float
    """When the request was to be sent: a new connection is made at that time at the earliest."""
    kind: str
    port: int
    reused: bool
    """Whether an earlier request had used the connection."""
    text: str


@dataclass(frozen=True, slots=True)
class Found:
    """What came of a run."""

    requests: int
    failures: list[Failure]
    versions: dict[str, int]
    summary: dict[str, Any]

    def no_failures(self) -> None:
        assert self.summary["failed"] == 0, (self.summary["kinds"], self.failures[:20])


class Load:
    """Runs from its construction until `stop`: half with a connection per request, half kept alive."""

    def __init__(
        self, network: Network, targets: Sequence[str], *, rate: int = 1500, mode: str = "both", connections: int = 20
    ) -> None:
        self._process = subprocess.Popen(
            [
                *network.prefix,
                str(builds.load_generator()),
                *("-target", ",".join(targets), "-rate", str(rate), "-mode", mode, "-duration", "0"),
                *("-timeout", "30s", "-connections", str(connections), "-expect-prefix", "version", "-live"),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        self._output = Output(piped(self._process))
        self.answered(1)

    def answered(self, more: int, version: str | None = None) -> None:
        """Wait until that many more requests were answered (by that version)."""
        since, counted = len(self._output.events), 0

        def enough() -> bool:
            nonlocal since, counted
            for each in self._output.events[since:]:
                since = each.index + 1
                counted += each["versions"].get(version, 0) if version else each["requests"] - each["failed"]
            return counted >= more

        self._output.until(f"{more} more answers by {version or 'anybody'}", enough)

    def reached(self, requests: int) -> None:
        """Wait until that many have been answered in all."""
        self._output.until(f"{requests} requests", lambda: self._answered() >= requests)

    def _answered(self) -> int:
        return sum(each["requests"] - each["failed"] for each in list(self._output.events))

    def stop(self) -> Found:
        """End it gracefully: what is under way is waited for."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        self._process.wait(DEADLINE)
        self._output.close()
        summary = self._output.events[-1].fields
        assert "failures" in summary, self._output.tail()
        assert summary["requests"] == summary["ok"] + summary["failed"]
        assert summary["failed"] == len(summary["failures"]) or summary["failed"] > 1000
        failures = [
            Failure(each["t"], each["due"], each["kind"], each["port"], each["reused"], str(each))
            for each in summary["failures"]
        ]
        return Found(summary["requests"], failures, summary["versions"], summary)

    def kill(self) -> None:
        """For a test that has failed."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if not self._output.ended or not piped(self._process).closed:
            self._output.close()
