"""`gapless backup` and `gapless restore`: what a service is, into one archive and out of it.

As the `release` commands they are done by this process and with its rights, whether a supervisor runs or not.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from supervisor.errors import OperatorError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

    from supervisor.daemon_backup import Saved
    from supervisor.daemon_restore import Plan
    from supervisor.releases.backup import Backup
    from supervisor.releases.restore import Proof

_BY_NOBODY = "by nothing but its own manifest: it is what whoever wrote it says, also of what the service requires"
_MINISIGN = re.compile(r"RW[A-Za-z0-9+/]{54}", re.ASCII)


def backup(given: argparse.Namespace, running: Callable[[], str | None]) -> None:
    """Write one, and say what it is. `running` tells the configuration of the supervisor that runs.

    Raises GaplessError or OSError.
    """
    path = given.config or running()
    if path is None:
        raise OperatorError("the supervisor runs without a configuration file: say --config FILE")
    from supervisor.daemon_backup import USUAL, save  # noqa: PLC0415 - loads what reads a configuration

    stream = given.file == "-"
    if stream and sys.stdout.isatty():
        raise UsageError("a backup is nothing for a terminal: say where it is to go")
    to = None if given.file is None or stream else Path(given.file)
    saved = save(Path(path), given.releases or USUAL, to, stream=stream)
    told = sys.stderr if stream else sys.stdout
    if given.json:
        print(json.dumps(_document(saved), indent=2), file=told)
        return
    for line in _saved(saved):
        print(_clean(line), file=told)


def restore(given: argparse.Namespace) -> None:
    """Put one back, or check it alone. Raises GaplessError or OSError."""
    from supervisor import daemon_restore  # noqa: PLC0415 - loads what reads a configuration
    from supervisor.releases.restore import opened  # noqa: PLC0415 - only this command has use for it

    proof = _proof(given)
    if given.check:
        with opened(given.file, proof) as file:
            plan = daemon_restore.plan(given.file, file, proof, given.config)
        new: tuple[str, ...] = ()
        swept: tuple[str, ...] = ()
    else:
        done = daemon_restore.put_back(given.file, proof, given.config)
        plan, new, swept = done.plan, done.new, done.swept
    if given.json:
        about = {"restored": not given.check, "new": list(new), "swept": list(swept)}
        print(json.dumps({**_plan_document(plan), **about}, indent=2))
        return
    _print_swept(swept)
    for line in _checked(given.file, plan) if given.check else _restored(plan, new):
        print(_clean(line))


def _proof(given: argparse.Namespace) -> Proof:
    from supervisor.releases.restore import Proof  # noqa: PLC0415 - only this command has use for it

    if given.signature is None and (given.keyring is not None or given.key):
        raise UsageError("--keyring and --key say whose signature counts: say --signature with what is to be checked")
    if given.signature is not None and given.keyring is None and not given.key:
        raise UsageError("whose signature counts is not for the backup to say: say --keyring FILE or --key KEY")
    keys = (each if _MINISIGN.fullmatch(each) else str(Path(each).absolute()) for each in given.key)
    keyring = None if given.keyring is None else str(given.keyring.absolute())
    return Proof(sha256=given.sha256, signature=given.signature, keyring=keyring, keys=tuple(keys))


# ---- for people


def _clean(line: str) -> str:
    """A backup says of itself what it likes."""
    from supervisor.cli_layout import clean  # noqa: PLC0415 - loads what draws tables

    return clean(line)


def _saved(saved: Saved) -> Iterable[str]:
    found = saved.manifest
    _print_swept(saved.swept)
    yield f"written: {saved.file or 'to standard output'} ({saved.size} bytes)"
    yield f"sha256: {saved.sha256}"
    yield f"in it: {_versions(found)}, configuration, {_state(found)}"
    for each in saved.lacks:
        yield f"note: {each}"
    if found.refers:
        yield f"not in it, though the configuration names them: {', '.join(found.refers)}"


def _checked(file: Path, plan: Plan) -> Iterable[str]:
    found = plan.examined.manifest
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found.made))
    yield f"{file}: whole (sha256 {plan.examined.sha256})"
    yield f"{found.service} of {found.host}, {when}, by {found.user} and gapless {found.gapless}"
    yield f"in it: {_versions(found)}, configuration, {_state(found)}"
    yield f"goes to: {found.root}, {plan.place.state}, {plan.config}"
    yield f"checked: {', '.join(plan.examined.checks) or _BY_NOBODY}"
    yield from _left(plan)


def _restored(plan: Plan, new: tuple[str, ...]) -> Iterable[str]:
    found, there = plan.examined.manifest, len(plan.examined.versions) - len(new)
    yield f"restored: {found.service}, by {plan.config}"
    again = f" ({there} of them there already, and the same)" if there else ""
    yield f"versions: {', '.join(found.versions) or 'none'}{again}, in {plan.place.layout.versions}, verified"
    yield f"current: {plan.current or 'none'}"
    yield f"state: {_state(found)}, in {plan.place.state}"
    yield f"checked: {', '.join(plan.examined.checks) or _BY_NOBODY}"
    yield from _left(plan)


def _left(plan: Plan) -> Iterable[str]:
    """What is left to be done by a person."""
    found = plan.examined.manifest
    if found.current is not None and plan.current is None:
        yield f"note: {found.current} was current and is not in it: gapless release add it, and have current lead to it"
    for name, sealed in plan.examined.absent.items():
        yield f"note: not in it: {name}, once added from {sealed.origin} (digest {sealed.digest})"
    for each in plan.lacking:
        yield f"note: {each} is not here, and the configuration names it"
    if found.owner is not None and found.owner != _me():
        command = shlex.join(["chown", "-R", found.owner, str(plan.place.state)])
        yield f"note: the state was {found.owner}'s, and is yours: {command}"
        yield f"note: {found.owner} has to be able to read {plan.config}, and to write to {plan.place.layout.root}, too"


def _me() -> str:
    import pwd  # noqa: PLC0415 - only for this

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _versions(found: Backup) -> str:
    names = ", ".join(f"{each} (current)" if each == found.current else each for each in found.versions)
    return names or "no version"


def _state(found: Backup) -> str:
    from supervisor.releases.backup import HISTORY, JOURNAL  # noqa: PLC0415 - only these commands have use for it

    names = {JOURNAL: "what is remembered of releases", HISTORY: "history"}
    there = {each.path for each in found.members}
    return " and ".join(text for path, text in names.items() if path in there) or "no state"


def _print_swept(swept: Iterable[str]) -> None:
    for what in swept:
        print(f"note: swept away what was left when {what} was interrupted", file=sys.stderr)


# ---- for machines


def _about(found: Backup) -> dict[str, Any]:
    return {
        "service": found.service,
        "host": found.host,
        "made": found.made,
        "by": found.user,
        "gapless": found.gapless,
        "config": found.config,
        "root": found.root,
        "current": found.current,
        "versions": list(found.versions),
        "absent": list(found.absent),
        "refers": list(found.refers),
    }


def _document(saved: Saved) -> dict[str, Any]:
    about = {"file": saved.file, "sha256": saved.sha256, "size": saved.size, "lacks": list(saved.lacks)}
    about |= {"swept": list(saved.swept), "owner": saved.manifest.owner}
    return {**about, **_about(saved.manifest)}


def _plan_document(plan: Plan) -> dict[str, Any]:
    examined = plan.examined
    return {
        **_about(examined.manifest),
        "sha256": examined.sha256,
        "checks": list(examined.checks),
        "config": str(plan.config),
        "state": str(plan.place.state),
        "current": plan.current,
        "was_current": examined.manifest.current,
        "owner": examined.manifest.owner,
        "lacking": list(plan.lacking),
    }
