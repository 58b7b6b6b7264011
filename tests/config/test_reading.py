"""What is taken, and what the likely mistakes are told: the key, its value, and what would do."""

import os
from pathlib import Path

import pytest

from supervisor.config import reading
from supervisor.config.summary import summary
from supervisor.errors import ConfigurationError

SERVICE = '[service]\nname = "web"\ncommand = ["/bin/true"]\n'
LISTEN = '[[listen]]\naddress = "127.0.0.1:8080"\n'
BOTH = SERVICE + LISTEN


def refusal(path: Path, text: str | bytes) -> str:
    """What is said of it, without the file's name."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError) as refused:
        reading.load(path)
    return str(refused.value).removeprefix(str(path)).lstrip(": ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "service is missing: want a [service] table"),
        (SERVICE, "listen is missing: want a table for each address, headed [[listen]]"),
        (
            '[service]\nname = "web"\n' + LISTEN,
            'service.command is missing: want a list of strings, such as command = ["',
        ),
        (
            SERVICE.replace('["/bin/true"]', '"/bin/x --flag"') + LISTEN,
            'command = "/bin/x --flag": want a list of strings',
        ),
        (
            SERVICE.replace('"/bin/true"', '"/bin/true", 80') + LISTEN,
            "service.command[1] = 80: want a string, in quotes",
        ),
        (SERVICE.replace('"/bin/true"', "") + LISTEN, "service.command = []: want a list of strings"),
        (
            SERVICE + LISTEN.replace("[[listen]]", "[listen]"),
            "listen: want a table for each address, headed [[listen]]",
        ),
        (SERVICE + LISTEN.replace("127.0.0.1:", ""), 'listen[0].address = "8080": has no port: write 127.0.0.1:8080'),
        (SERVICE + LISTEN.replace("127.0.0.1", "web.example"), "is not an IP address (host names are not looked up)"),
        (SERVICE + LISTEN.replace('"127.0.0.1:8080"', "8080"), "listen[0].address = 8080: want an address, such as"),
        (SERVICE + LISTEN.replace("127", "http://127"), "want it without the scheme, such as 127.0.0.1:8080"),
        (
            SERVICE + LISTEN.replace("127.0.0.1:8080", "unix:run/x"),
            "is no full path of a socket: write unix:/full/path",
        ),
        (BOTH + 'socket_mode = "0600"\n', "socket_mode means nothing here: it belongs to a Unix socket with a path"),
        (
            SERVICE + LISTEN.replace("127.0.0.1:8080", "unix:@x") + 'mode = "reuseport"\n',
            'abstract socket: want "shared"',
        ),
        (
            BOTH + 'mode = "shared"\n[ready]\nmethod = "http"\n',
            "is a socket of all generations, so that another than is meant may answer there",
        ),
        (BOTH + LISTEN, 'listen: address = "127.0.0.1:8080" is there 2 times: want it once'),
        (BOTH + "[ready]\ntimeout = 30\n", 'ready.timeout = 30: want it in quotes and with a unit: "500ms", "30s"'),
        (BOTH + '[ready]\ntimeout = "30"\n', 'ready.timeout = "30": want it with a unit: "500ms"'),
        (BOTH + '[ready]\ntimeout = "0s"\n', 'ready.timeout = "0s": want a duration of more than 0'),
        (BOTH + '[ready]\nmethod = "tcp"\n', 'ready.method = "tcp": want "auto", "pipe", '),
        (BOTH + '[ready]\ntimeot = "3s"\n', "ready.timeot is not known: did you mean timeout?"),
        (BOTH + '[redy]\ntimeout = "3s"\n', "redy is not known: did you mean ready?"),
        (BOTH + '[handoff]\ntimeout = "3s"\n', "handoff.timeout is not known here: it belongs to [ready] or [drain]"),
        (BOTH + '[drain]\nsignal = "TREM"\n', 'drain.signal = "TREM": want a signal by name, such as "TERM"'),
        (BOTH + '[drain]\nsignal = "KILL"\n', "want a signal that a server can handle"),
        (BOTH + '[ready]\nprobe = "yes"\n', 'ready.probe = "yes": want true or false'),
        (BOTH + "[ready]\nprobe = 1\n", "ready.probe = 1: want true or false"),
        (BOTH + "[drain]\nlimit = 0\n", "drain.limit = 0: want at least 1"),
        (BOTH + '[restart]\ndelay = "1m"\nlongest = "1s"\n', "restart: longest (1 s) is less than delay (60 s)"),
        (BOTH + '[control]\nsocket = "web.sock"\n', 'control.socket = "web.sock": want a full path'),
        (BOTH + '[control]\nmode = "0066"\n', 'control.mode = "0066": want octal digits in quotes that let the owner'),
        (BOTH + "[control]\nmode = 660\n", 'control.mode = 660: want octal digits in quotes, such as mode = "0660"'),
        (BOTH + '[control]\ngroup = "nosuch"\n', 'control.group = "nosuch": want the name or the number of a group'),
        (
            BOTH + '[control]\nviewers = "root"\n',
            'control.viewers = "root": want a list of users and, after an @, grou',
        ),
        (BOTH + '[control]\nadmins = ["@nosuch"]\n', "there is no group of that name"),
        (BOTH + '[control]\nviewers = [""]\n', "there is no user of that name"),
        (BOTH + '[control]\nviewers = ["@99999999999"]\n', "there is no group of that name"),
        (
            BOTH + '[control]\nviewers = ["4294967295"]\n',
            "want the name or the number of a user, of at most 4294967294",
        ),
        (
            BOTH + '[control]\nviewers = ["65534"]\nmode = "0666"\n',
            'control.viewers[0] = "65534": want another user: 65534 is also whom the kernel has no number for',
        ),
        (
            BOTH + '[control]\nviewers = ["root"]\n',
            'control: a role means nothing to who may not open the socket, and mode = "0600" lets in nobody',
        ),
        (
            SERVICE + 'user = "nosuchuser"\n' + LISTEN,
            'service.user = "nosuchuser": want the name of a user of this host',
        ),
        (SERVICE + "umask = 0o22\n" + LISTEN, "want octal digits in quotes"),
        (
            SERVICE + "[service.environment]\nPORT = 80\n" + LISTEN,
            "service.environment.PORT = 80: want a string, in quotes",
        ),
        (
            SERVICE + '[service.environment]\nLISTEN_FDS = "1"\n' + LISTEN,
            "LISTEN_FDS: is set by gapless itself: leave it out",
        ),
        (SERVICE + "[service.limits]\nnofiles = 1\n" + LISTEN, "service.limits.nofiles: want one of as, core"),
        (SERVICE + '[service.limits]\nnofile = "2:1"\n' + LISTEN, 'service.limits.nofile = "2:1": want a soft limit'),
        (SERVICE + "[service.limits]\nnofile = true\n" + LISTEN, "service.limits.nofile = true: want a number"),
        (SERVICE.replace("web", "my web") + LISTEN, 'service.name = "my web": want 1 to 63 of the letters'),
        ("[service\n", "is not TOML: Expected ']'"),
        ("a = " + "[" * 100_000, "is nested too deeply"),
        ("a = " + "9" * 5000, "is not TOML"),
        (b"a = \xff", "is not UTF-8 text (byte 4)"),
        (b"a = 1\n" * 200_000, "has 1200000 bytes: want a configuration of at most"),
    ],
)
def test_a_mistake_is_told_so_that_it_can_be_mended(tmp_path: Path, text: str | bytes, told: str) -> None:
    found = refusal(tmp_path / "c.toml", text)
    assert told in found
    assert found.isprintable()
    assert len(found) < 300


def test_all_mistakes_are_told_at_once_but_for_very_many(tmp_path: Path) -> None:
    assert refusal(tmp_path / "c.toml", '[ready]\nmethod = 1\nprobe = "x"\n').count(";") == 3
    many = "".join(f'k{number} = "x"\n' for number in range(1000))
    assert refusal(tmp_path / "c.toml", BOTH + "[ready]\n" + many).endswith("; and 992 more")


@pytest.mark.parametrize("what", ["folder", "pipe", "gone", "dangling"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, what: str) -> None:
    path = tmp_path / "c.toml"
    match what:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "dangling":
            path.symlink_to(tmp_path / "nothing")
    with pytest.raises(ConfigurationError, match=r"is not a file|No such file"):
        reading.load(path)


def test_the_contract_s_example_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(
        """
        [service]
        name = "web"
        command = ["/srv/web/current/server", "--flag"]
        umask = "022"
        limits = { nofile = "1024:unlimited", core = 0 }
        environment = { "a.b" = "c" }
        [[listen]]
        name = "http"
        address = "127.0.0.1:8080"
        mode = "reuseport"
        [ready]
        method = "auto"
        timeout = "30s"
        [handoff]
        mode = "overlap"
        probation = "0s"
        [drain]
        signal = "SIGTERM"
        timeout = "1m30s"
        [stop]
        timeout = "30s"
        [control]
        socket = "/run/gapless/web/control.sock"
        """
    )
    found = reading.load(path)
    policy, launch = found.policy(), found.launch()
    assert (policy.probation, policy.drain_signal, policy.drain_timeout) == (0.0, "TERM", 90.0)
    assert (launch.umask, launch.limits) == (0o22, (("nofile", 1024, -1), ("core", 0, 0)))
    assert ("a.b", "c") in launch.environment


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            'mode = "exclusive"',
            "then the new one starts, clients waiting; if it fails until 5 s after it is ready, the",
        ),
        ('mode = "exclusive"\nprobation = "0s"', "if it fails until it is ready, the old one does"),
        ('probation = "0s"', "overlap; no probation, then it gets TERM"),
        ("", "overlap; the old one stands by for 5 s, then it gets TERM, and KILL after 30 s"),
    ],
)
def test_the_mode_of_a_handoff_is_told_in_words(tmp_path: Path, table: str, said: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(BOTH + f"[handoff]\n{table}\n")
    found = reading.load(path)
    assert found.policy().exclusive is ("exclusive" in table)
    assert said in "\n".join(summary(found))


def test_what_is_systemd_s_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/x")
    monkeypatch.setenv("KEPT", "1")
    found = reading.from_arguments(["/bin/true"], ["http=:0", ":1"], name=None, socket=None)
    names = dict(found.launch().environment)
    assert "KEPT" in names
    assert "NOTIFY_SOCKET" not in names
    assert found.service.name == "true"
    assert [each.name for each in found.addresses] == ["http", "listen-2"]


def test_a_folder_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = reading.from_arguments(["./x"], [":0"], name="x", socket=None)
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigurationError, match="started in is gone"):
        found.launch()
