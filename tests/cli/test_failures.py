"""Every failure is one line, with the exit status that the contract has for it."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.cli.asked import GAPLESS, answering, failed, gapless
from tests.harness.builds import ROOT
from tests.harness.output import DEADLINE

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ASKING = (("status",), ("history",), ("upgrade",), ("rollback", "--no-wait"), ("abort",), ("stop",), ("events",))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "COMMAND"),
        (("frobnicate",), "invalid choice"),
        (("status", "--jsno"), "unrecognized"),
        (("upgrade", "--no-wai"), "unrecognized"),
        (("status", "--socket"), "expected one argument"),
        (("status", "--", "x"), "only run takes a command"),
        (("run",), "either a configuration file, or --listen ADDR"),
        (("run", "x.toml", "--listen", ":1", "--", "y"), "either a configuration file, or --listen ADDR"),
        (("run", "--listen", ":1"), "both are needed"),
        (("run", "--", "/bin/true"), "both are needed"),
        (("run", "x.toml", "--service", "y"), "says socket and service itself"),
        (("status", "--service", "../x"), "no service's name"),
        (("status", "--json", "--watch"), "not allowed with"),
        (("check",), "CONFIG"),
    ],
)
def test_wrong_usage_is_2(words: tuple[str, ...], told: str) -> None:
    assert told in failed(gapless(*words), 2)


@pytest.mark.parametrize("words", ASKING)
def test_nobody_there_is_5(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert "no supervisor listens" in failed(gapless(*words, "--socket", str(tmp_path / "none")), 5)


def test_what_is_no_socket_is_5(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert "is not a socket" in failed(gapless("status", "--socket", str(file)), 5)
    assert "is not a socket" in failed(gapless("status", "--socket", str(tmp_path)), 5)
    assert "no supervisor listens" in failed(gapless("status", "--socket", f"{file}/x"), 5)
    assert "too long" in failed(gapless("status", "--socket", "x" * 200), 5)


def test_what_a_dead_one_left_is_5(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert "a supervisor that is gone left it" in failed(gapless("upgrade", "--socket", str(path)), 5)


def test_no_permission_is_5(tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("becoming another user takes root and setpriv (util-linux)")
    path = tmp_path / "s"
    tmp_path.chmod(0o700)
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(str(path))
        living.listen()
        found = subprocess.run(
            ["setpriv", "--reuid", "65534", "--clear-groups", *GAPLESS, "status", "--socket", str(path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE,
        )
    if "No module named" in found.stderr or "Permission denied" in found.stderr:
        pytest.skip("another user may not read this checkout")
    assert "may not be opened by uid 65534" in failed(found, 5)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\xff" * 1000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
        HEAD + b"Content-Length: 2\r\n\r\n[]",
        HEAD + b"Content-Length: 7\r\n\r\n<html/>",
        HEAD + b"Content-Length: 2\r\n\r\n{}",
        HEAD + b'Content-Length: 18\r\n\r\n{"generations": 3}',
        b'HTTP/1.1 500 Oh\r\nContent-Length: 13\r\n\r\n{"error": 17}',
        b"HTTP/1.1 503 Oh\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b"Content-Length: 50001\r\n\r\n" + b"[" * 50_001,
        HEAD + b"a: b\r\n" * 5000 + b"\r\n",
    ],
)
def test_an_answer_that_makes_no_sense_is_5(tmp_path: Path, answer: bytes) -> None:
    path = tmp_path / "s"
    with answering(path, answer):
        for words in (("status",), ("history",), ("upgrade",)):
            failed(gapless(*words, "--socket", str(path)), 5)


def test_events_that_make_no_sense_are_5(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with answering(path, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nevent: x\ndata: {]\n\n"):
        failed(gapless("events", "--socket", str(path)), 5)
    path.unlink()
    with answering(path, b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nevent: x\ndata: {"a": 1}\n\n'):
        failed(gapless("events", "--socket", str(path)), 5)


def test_being_turned_away_is_4(tmp_path: Path) -> None:
    path = tmp_path / "s"
    body = b'{"error": "uid 7 may not do this"}'
    with answering(path, b"HTTP/1.1 403 No\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)):
        assert "uid 7 may not do this" in failed(gapless("upgrade", "--socket", str(path)), 4)


def test_a_configuration_that_cannot_be_is_1(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[service]\nname = "x"\n')
    assert "service.command is missing" in failed(gapless("check", str(path)), 1)
    assert "service.command is missing" in failed(gapless("run", str(path)), 1)
    assert "No such file" in failed(gapless("run", str(tmp_path / "none.toml")), 1)


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[service]\nname = "x"\ncommand = ["/bin/true"]\n[[listen]]\naddress = "127.0.0.1:0"\n')
    with Path("/dev/full").open("w") as full:
        found = subprocess.run(
            [*GAPLESS, "check", str(path)], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (found.returncode, found.stderr) == (1, "gapless: No space left on device\n")


def test_check_says_what_it_amounts_to(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(
        '[service]\nname = "x"\ncommand = ["/bin/true"]\numask = "027"\n[[listen]]\naddress = "127.0.0.1:0"\n'
        '[drain]\nsignal = "QUIT"\ntimeout = "90s"\n'
    )
    found = gapless("check", str(path))
    assert found.returncode == 0
    for told in ("all right", "listen-1 127.0.0.1:0", "umask 027", "QUIT, and KILL after 90 s", "control.sock"):
        assert told in found.stdout
    assert "is no folder" not in found.stdout


def test_check_tells_of_folders_that_are_not_there(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(
        f'[service]\nname = "x"\ncommand = ["/bin/true"]\ndirectory = "{tmp_path}/a"\nstdout = "{tmp_path}/b/log"\n'
        '[[listen]]\naddress = "127.0.0.1:0"\n'
    )
    found = gapless("check", str(path))
    assert found.returncode == 0
    assert f'service.directory = "{tmp_path}/a": {tmp_path}/a is no folder' in found.stdout
    assert f'service.stdout = "{tmp_path}/b/log": {tmp_path}/b is no folder' in found.stdout
