"""Commands that look at the host, at a file or at a report. They ask no supervisor, and change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from supervisor.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def add(command: Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]) -> None:
    """Add each by `command`, which takes its name, what does it, and what it is for."""
    doctor = command(
        "doctor", _doctor, "say what this host lacks, what follows from it, and what to do; change nothing"
    )
    doctor.add_argument("config", nargs="?", type=Path, metavar="CONFIG", help="look at what this configuration needs")
    doctor.add_argument("--json", action="store_true", help="for machines")
    preflight = command("preflight", _preflight, "say what keeps a file from running here; do not run it")
    preflight.add_argument("file", type=Path, metavar="FILE")
    configured = "as the service of this configuration would be run, and not as you would run it here and now"
    preflight.add_argument("--config", type=Path, metavar="CONFIG", help=configured)
    preflight.add_argument("--json", action="store_true", help="for machines")
    judge = command(
        "judge", _judge, "say whether a scanner's report (Trivy's or govulncheck's JSON) lets a release pass"
    )
    judge.add_argument("report", metavar="REPORT", help="its file, or - for standard input")
    judge.add_argument("--threshold", type=float, default=7.0, metavar="SCORE", help="CVSS that blocks (default: 7.0)")
    judge.add_argument("--exceptions", type=Path, metavar="FILE", help="what is allowed all the same, and until when")
    judge.add_argument("--json", action="store_true", help="for machines")


def _doctor(arguments: argparse.Namespace) -> int:
    from supervisor import cli_doctor  # noqa: PLC0415 - only this command looks at the host

    _refuse_to_choose(arguments, "doctor looks at the host and asks no supervisor")
    return _status(cli_doctor.doctor(arguments.config, machine=arguments.json))


def _preflight(arguments: argparse.Namespace) -> int:
    from supervisor import cli_preflight  # noqa: PLC0415 - loads what knows the formats of programs

    _refuse_to_choose(arguments, "preflight asks no supervisor")
    return _status(cli_preflight.preflight(arguments.file, arguments.config, machine=arguments.json))


def _judge(arguments: argparse.Namespace) -> int:
    from supervisor import cli_judge  # noqa: PLC0415 - only where it is used

    _refuse_to_choose(arguments, "judge asks no supervisor")
    if not 0.0 <= arguments.threshold <= 10.0:  # noqa: PLR2004 - the scale of CVSS
        raise UsageError(f"--threshold {arguments.threshold:g} is no score of CVSS: want 0.0 to 10.0")
    return _status(cli_judge.judge(arguments.report, arguments.exceptions, arguments.threshold, machine=arguments.json))


def _refuse_to_choose(arguments: argparse.Namespace, why: str) -> None:
    if arguments.socket or arguments.service:
        raise UsageError(f"{why}: leave --socket and --service out")


def _status(well: bool) -> int:  # noqa: FBT001 - what came of it
    return 0 if well else 1
