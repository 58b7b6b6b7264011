"""The command line: arguments to one control request and a printed answer; `run` starts the daemon."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from supervisor import __version__, cli_looks
from supervisor import cli_arguments as takes
from supervisor.cli_release import add_arguments as add_release_arguments
from supervisor.errors import GaplessError, HostError, OperatorError, UnreachableError, UsageError
from supervisor.paths import control_sockets, living_control_socket, runtime_root

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from supervisor.control.client import Client

DONE, FAILED, USAGE, ROLLED_BACK, REFUSED, UNREACHABLE = 0, 1, 2, 3, 4, 5
"""Exit statuses."""
_BY_ITSELF = frozenset({"run", "check", "doctor", "release", "backup", "restore", "preflight", "judge"})
"""Commands that ask no supervisor."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, as for every other failure."""
        self.exit(USAGE, f"gapless: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. A failure is one line on standard error, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show an arrow shows a question mark
    try:
        status = _do(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except BrokenPipeError:
        _give_up_output()
        return 128 + signal.SIGPIPE
    except OSError as refused:
        _give_up_output()
        return _complain(refused.strerror or str(refused), FAILED)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return status


def _give_up_output() -> None:
    """Let go of what cannot be written: Python would try once more at its end, complain, and make the status 120."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _do(words: list[str]) -> int:
    before, after = _split(words)
    parser = _parser()
    arguments = parser.parse_args(before, argparse.Namespace(words=after, socket=None, service=None))
    if after and arguments.command != "run":
        parser.error("only run takes a command after --")
    try:
        status: int = arguments.does(arguments)
    except UsageError as error:
        return _complain(error, USAGE)
    except UnreachableError as error:
        return _complain(error, UNREACHABLE)
    except OperatorError as error:
        return _complain(error, FAILED if arguments.command in _BY_ITSELF else REFUSED)
    except HostError as error:
        return _complain(error, FAILED)
    except (LookupError, TypeError, ValueError, AttributeError) as odd:
        if arguments.command in _BY_ITSELF:
            raise
        return _complain(f"the answer makes no sense ({odd!r}): is the supervisor of another version?", UNREACHABLE)
    return status


def _complain(error: GaplessError | str, status: int) -> int:
    print(f"gapless: {error}", file=sys.stderr)
    return status


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """What stands before `--`, and the command after it."""
    if "--" not in words:
        return words, []
    at = words.index("--")
    return words[:at], words[at + 1 :]


def _parser() -> argparse.ArgumentParser:
    which = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    which.add_argument("--socket", metavar="PATH", help="the control socket of the supervisor that is meant")
    which.add_argument("--service", metavar="NAME", help="the service that is meant; needless if there is only one")
    parser = _Parser(
        prog="gapless",
        allow_abbrev=False,
        description="Replaces the binary of a running server without losing a request.",
        epilog="Exit status: 0 done, 1 failed, 2 wrong usage, 3 rolled back, 4 refused, 5 no supervisor was reached; "
        "of run also 6: stopped, and something had to be killed.",
        parents=[which],
    )
    parser.add_argument("--version", action="version", version=f"gapless {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, does: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, parents=[which], allow_abbrev=False)
        made.set_defaults(does=does)
        return made

    run = command("run", _run, "supervise a server: gapless run CONFIG, or gapless run --listen ADDR -- COMMAND")
    run.usage = "gapless run CONFIG\n       gapless run --listen ADDR [--listen ADDR...] [--service NAME] -- COMMAND..."
    run.add_argument("config", nargs="?", type=Path, metavar="CONFIG", help="the configuration file (TOML)")
    run.add_argument("--rehearse", action="store_true", help="show that it could begin, and end: start nothing")
    run.add_argument("--listen", action="append", default=[], metavar="ADDR", help="[NAME=]HOST:PORT; repeatable")
    check = command("check", _check, "check a configuration and the release that it names; start nothing")
    check.add_argument("config", type=Path, metavar="CONFIG")
    status = command("status", _status, "show generations, and what is going on")
    form = status.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="for machines")
    form.add_argument("--watch", action="store_true", help="again and again, until interrupted")
    explain = command("explain", _explain, "say what waits now, why, and until when")
    explain.add_argument("--json", action="store_true", help="for machines")
    cli_looks.add(command)
    for name, text in (
        ("upgrade", "hand over to what the configuration names now, and wait for the commit"),
        ("rollback", "hand over to the release that served before, or to an earlier one, and wait for the commit"),
        ("abort", "undo the handoff that is under way"),
    ):
        takes.of_handoff(command(name, _ask, text), name)
    release = command("release", _release, "keep versions in a store: add, list, verify, prune, remove")
    add_release_arguments(release, which)
    takes.of_backup(command("backup", _backup, "write configuration, history, manifests and releases into one archive"))
    takes.of_restore(command("restore", _restore, "put such an archive back on an empty host, and verify it"))
    command("stop", _stop, "drain everything and end")
    command("reexec", _reexec, "replace the supervisor itself by what is on disk now; its server notices nothing")
    takes.of_quarantine(
        command("quarantine", _quarantine, "list the releases that are not to be started, or let one be again")
    )
    history = command("history", _history, "list the handoffs that have ended, or show the report of one")
    history.add_argument("handoff", nargs="?", type=int, metavar="NUMBER", help="the handoff whose report to show")
    history.add_argument("--json", action="store_true", help="for machines")
    takes.of_diff(command("diff", _diff, "show what differs between two releases that serve or have served"))
    events = command("events", _events, "show what happens, as it happens")
    events.add_argument("--json", action="store_true", help="for machines")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    from supervisor.config.source import Source  # noqa: PLC0415 - the other commands do without it
    from supervisor.daemon_start import rehearse, start  # noqa: PLC0415 - only this command is the daemon

    by_file = arguments.config is not None
    if by_file == bool(arguments.listen or arguments.words):
        raise UsageError("give either a configuration file, or --listen ADDR -- COMMAND")
    if not by_file and not (arguments.listen and arguments.words):
        raise UsageError("without a configuration file both are needed: --listen ADDR -- COMMAND")
    if by_file and (arguments.socket or arguments.service):
        raise UsageError("the configuration file says socket and service itself: leave --socket and --service out")
    source = (
        Source.of_file(arguments.config.absolute())
        if by_file
        else Source.of_arguments(arguments.words, arguments.listen, name=arguments.service, socket=arguments.socket)
    )
    return (rehearse if arguments.rehearse else start)(source)


def _check(arguments: argparse.Namespace) -> int:
    from supervisor.daemon_check import check  # noqa: PLC0415 - the other commands do without the models

    if arguments.socket or arguments.service:
        raise UsageError("check asks no supervisor: leave --socket and --service out")
    for line in check(arguments.config):
        print(line)
    return DONE


def _status(arguments: argparse.Namespace) -> int:
    from supervisor import cli_status  # noqa: PLC0415 - loads what draws tables

    client = _client(arguments)
    if arguments.json:
        cli_status.as_json(client)
    elif arguments.watch:
        cli_status.watch(client)
    else:
        cli_status.show(client)
    return DONE


def _explain(arguments: argparse.Namespace) -> int:
    from supervisor import cli_status  # noqa: PLC0415 - loads what draws tables

    cli_status.explain(_client(arguments), machine=arguments.json)
    return DONE


def _ask(arguments: argparse.Namespace) -> int:
    from supervisor import cli_ask  # noqa: PLC0415 - loads what draws progress

    client, what = _client(arguments), arguments.command
    terms = {
        "if_current": arguments.if_current,
        "request": arguments.request,
        "release": arguments.release,
        "to": arguments.to,
    }
    said = {key: value for key, value in terms.items() if value is not None}
    if arguments.no_wait:
        answer = client.call("POST", f"/v1/{what}", **said)
    else:
        answer = cli_ask.follow(client, what, said, quiet=arguments.json, until_drained=arguments.wait_drain)
    if arguments.json:
        cli_ask.print_json(answer)
    elif arguments.no_wait:
        print(f"asked: request {answer['request']}")
    return {"done": DONE, "rolled back": ROLLED_BACK, "refused": REFUSED}.get(answer.get("result", "done"), FAILED)


def _quarantine(arguments: argparse.Namespace) -> int:
    from supervisor import cli_quarantine  # noqa: PLC0415 - loads what draws tables

    if (arguments.what == "lift") != (arguments.release is not None):
        raise UsageError("say gapless quarantine list, or gapless quarantine lift ID")
    if arguments.what == "lift":
        cli_quarantine.lift(_client(arguments), arguments.release)
    else:
        cli_quarantine.show(_client(arguments), machine=arguments.json)
    return DONE


def _release(arguments: argparse.Namespace) -> int:
    from supervisor.cli_release import release  # noqa: PLC0415 - only where it is used

    return DONE if release(arguments, lambda: _configuration(arguments)) else FAILED


def _configuration(arguments: argparse.Namespace) -> str | None:
    """The file that the supervisor which is meant runs by."""
    path = _client(arguments).call("GET", "/v1/status").get("configuration")
    return path if isinstance(path, str) else None


def _backup(arguments: argparse.Namespace) -> int:
    from supervisor.cli_backup import backup  # noqa: PLC0415 - only where it is used

    backup(arguments, lambda: _configuration(arguments))
    return DONE


def _restore(arguments: argparse.Namespace) -> int:
    from supervisor.cli_backup import restore  # noqa: PLC0415 - only where it is used

    if arguments.socket or arguments.service:
        raise UsageError("restore asks no supervisor: leave --socket and --service out")
    restore(arguments)
    return DONE


def _stop(arguments: argparse.Namespace) -> int:
    _client(arguments).call("POST", "/v1/stop")
    print("stopping: what is open is finished first; say it again to end at once")
    return DONE


def _reexec(arguments: argparse.Namespace) -> int:
    from supervisor import cli_ask  # noqa: PLC0415 - only where it is used

    cli_ask.reexec(_client(arguments))
    return DONE


def _history(arguments: argparse.Namespace) -> int:
    from supervisor import cli_report, cli_status  # noqa: PLC0415 - load what draws tables

    if arguments.handoff is None:
        cli_status.history(_client(arguments), machine=arguments.json)
    else:
        cli_report.show(_client(arguments), arguments.handoff, machine=arguments.json)
    return DONE


def _diff(arguments: argparse.Namespace) -> int:
    from supervisor import cli_diff  # noqa: PLC0415 - loads what draws tables

    cli_diff.show(_client(arguments), arguments.one, arguments.other, machine=arguments.json)
    return DONE


def _events(arguments: argparse.Namespace) -> int:
    from supervisor import cli_ask  # noqa: PLC0415 - only where it is used

    cli_ask.print_events(_client(arguments), machine=arguments.json)
    return DONE


def _client(arguments: argparse.Namespace) -> Client:
    """The supervisor that is meant: by socket, by name, or the only one there is."""
    from supervisor.control.client import Client  # noqa: PLC0415 - `run` does without it

    if arguments.socket:
        return Client(Path(arguments.socket))
    if arguments.service:
        if "/" in arguments.service or arguments.service in {".", ".."}:
            raise UsageError(f"{arguments.service} is no service's name: say --socket PATH for a socket")
        return Client(living_control_socket(arguments.service))
    found = control_sockets()
    living = [path for path in found if Client(path).answers] if len(found) > 1 else found
    if not living:
        raise UnreachableError(f"no supervisor was found in {runtime_root()}: say --socket PATH or --service NAME")
    if len(living) > 1:
        names = ", ".join(path.parent.name for path in living)
        raise UsageError(f"there are several services ({names}): say --service NAME")
    return Client(living[0])
