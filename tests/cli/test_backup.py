"""`gapless backup` and `restore` as processes: what they say, how they end, and that they may be killed anywhere."""

import io
import json
import os
import pwd
import subprocess
import tarfile

import pytest

from supervisor.cli import main
from supervisor.daemon_restore import put_back
from supervisor.releases.manifest import read
from supervisor.releases.restore import Proof, examine, opened
from supervisor.releases.verify import verify
from tests.cli.asked import GAPLESS, gapless
from tests.harness.builds import ROOT
from tests.harness.crashing import Repeated, needs_strace
from tests.harness.output import DEADLINE
from tests.releases.stores import sha256
from tests.releases.test_backup import HISTORY, Host, host
from tests.releases.test_signatures import Gpg, gpg, needs_gpg

Capture = pytest.CaptureFixture[str]

__all__ = ["gpg", "host"]  # fixtures

CALLS = ("mkdir", "mkdirat", "symlink", "symlinkat", "fsync", "fchmod", "chmod", "unlink", "rename")
"""The system calls by which a restore changes the world, but for write: those are to what nobody looks at yet."""


def test_there_and_back(host: Host) -> None:
    saved = gapless("backup", "--config", str(host.config))
    assert (saved.returncode, saved.stderr) == (0, "")
    file = next(host.layout.backups.iterdir())
    assert saved.stdout.splitlines() == [
        f"written: {file} ({file.stat().st_size} bytes)",
        f"sha256: {sha256(file)}",
        "in it: v1, v2 (current), configuration, what is remembered of releases and history",
    ]
    kept = file.rename(host.folder / "kept.tar.gz")
    assert f"{kept}: whole (sha256 {sha256(kept)})\nt of " in gapless("restore", "--check", str(kept)).stdout
    host.lose()
    restored = gapless("restore", str(kept))
    assert (restored.returncode, restored.stderr) == (0, "")
    assert restored.stdout.startswith(f"restored: t, by {host.config}\nversions: v1, v2, in {host.layout.versions}, ")
    assert "note: not in it: v3, once added from" in restored.stdout


def test_to_standard_output(host: Host) -> None:
    words = [*GAPLESS, "backup", "--config", str(host.config), "--releases", "current", "-"]
    saved = subprocess.run(words, cwd=ROOT, capture_output=True, check=True, timeout=DEADLINE)
    with tarfile.open(fileobj=io.BytesIO(saved.stdout)) as tar:
        assert tar.getnames()[:2] == ["backup.json", "config.toml"]
    assert saved.stderr.startswith(b"written: to standard output")
    (host.folder / "t.tar.gz").write_bytes(saved.stdout)
    checked = gapless("restore", "--check", "--json", str(host.folder / "t.tar.gz"))
    told = json.loads(checked.stdout)
    assert (told["versions"], told["was_current"], told["swept"]) == (["v2"], "v2", [])
    assert told["owner"] == pwd.getpwuid(os.getuid()).pw_name


@needs_gpg
def test_whose_signature_counts_is_said_by_who_restores(host: Host, gpg: Gpg, capsys: Capture) -> None:
    theirs, ours = gpg.keyring("theirs"), gpg.keyring("ours")
    host.configure(f'require = ["signature"]\nkeyring = "{theirs}"')
    file = host.save()
    signed = ("restore", str(file), "--signature", str(gpg.sign("ours", file)))
    host.lose()
    assert "say --sha256 with what `gapless backup` told, or --signature" in said(capsys, 1, "restore", str(file))
    assert "say --keyring FILE or --key KEY" in said(capsys, 2, *signed)
    assert "is by a key that is not in the keyring" in said(capsys, 1, *signed, "--keyring", str(theirs))
    assert main([*signed, "--keyring", str(ours)]) == 0
    assert host.layout.names() == ["v1", "v2"]


def test_failures_are_one_line(host: Host, capsys: Capture) -> None:
    words = ("backup", "--config", str(host.config))
    assert "there is no version v9" in said(capsys, 1, *words, "--releases", "v9")
    nowhere = str(host.folder / "none/t.tar.gz")
    assert f"{nowhere} cannot be written: No such file or directory" in said(capsys, 1, *words, nowhere)
    assert "cannot be read" in said(capsys, 1, "restore", str(host.folder / "none"))
    for words_of_keys in (("--key", "/k"), ("--keyring", "/k")):
        assert "say --signature with what" in said(capsys, 2, "restore", "x", *words_of_keys)
    assert "restore asks no supervisor" in said(capsys, 2, "restore", "--service", "t", "x")
    file = host.save()
    host.configure("keep = 1\n")
    assert "this host is not empty" in said(capsys, 1, "restore", str(file))


def said(capsys: Capture, status: int, *words: str) -> str:
    """The one line that a command says that fails so."""
    assert main(list(words)) == status
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert told.err.startswith("gapless: ")
    return told.err


# ---- killed anywhere


RESTORE = """
from pathlib import Path
import pytest

from supervisor.cli import main
from supervisor.daemon_restore import put_back
from supervisor.releases.restore import Proof
def work(file):
    put_back(Path(file), Proof(), None)
"""
SAVE = """
from pathlib import Path
from supervisor.daemon_backup import save
def work(config, file):
    save(Path(config), "current", Path(file))
"""


def looked_at(host: Host) -> None:
    """Each thing is whole, or is not there; and who has a configuration has all of it."""
    for name in host.layout.names():
        manifest = read(host.layout.folder(name))
        assert manifest is not None
        verify(host.layout.folder(name), manifest)
    assert not (host.state / "history.jsonl").exists() or (host.state / "history.jsonl").read_bytes() == HISTORY
    if host.layout.current_link.is_symlink():
        assert (host.state / "journal.json").exists()
        assert host.layout.current() == "v2"
    if host.config.exists():
        assert (host.layout.names(), host.layout.current()) == (["v1", "v2"], "v2")


@needs_strace
def test_a_restore_that_is_killed_anywhere_is_finished_by_the_next(host: Host) -> None:
    file = host.save()
    host.lose()
    put_back(file, Proof(), None)
    whole, deaths = contents(host), 0
    with Repeated(RESTORE) as restore:
        for call in CALLS:
            host.lose()
            number = 1
            while restore.killed(call, number, str(file)):
                deaths += 1
                looked_at(host)
                put_back(file, Proof(), None)
                assert contents(host) == whole, (call, number)
                host.lose()
                number += 1
    assert deaths > 40, deaths


def contents(host: Host) -> dict[str, object]:
    """All but who has held the lock last."""
    return {path: each for path, each in host.seen().items() if path != "state/lock"}


@needs_strace
def test_a_backup_that_is_killed_anywhere_is_whole_or_none(host: Host) -> None:
    to = host.layout.backups / "t.tar.gz"
    deaths = 0
    with Repeated(SAVE) as save:
        for call in ("write", "fsync", "rename"):
            number = 1
            while save.killed(call, number, str(host.config), str(to)):
                deaths += 1
                if to.exists():
                    with opened(to, Proof()) as file:
                        assert examine(file, to, Proof()).manifest.current == "v2"
                    to.unlink()
                number += 1
            assert sorted(each.name for each in host.layout.backups.iterdir()) == [to.name]
            to.unlink()
    assert deaths > 3, deaths
