"""Servers that were written for other supervisors, unchanged; and the words by which a command learns its sockets."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.harness import proc
from tests.harness.supervisor import Supervisor

EINHORN_WORKER = """#!{python} -IS
import os, signal, socket, sys

def ack():
    client = socket.socket(socket.AF_UNIX)
    client.connect(os.environ["EINHORN_SOCK_PATH"])
    message = "---\\ncommand: worker:ack\\npid: %d\\n" % os.getpid()
    client.sendall(message.replace("%", "%25").replace("\\n", "%0A").encode() + b"\\n")
    client.close()

if os.getppid() != int(os.environ["EINHORN_MASTER_PID"]):
    sys.exit("not a worker of einhorn's")
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGUSR2, lambda *_: sys.exit())
listening = socket.socket(fileno=int(os.environ["EINHORN_FD_0"]))
if {acks}:
    ack()
while True:
    connection = listening.accept()[0]
    if connection.recv(4096):
        connection.sendall(b"HTTP/1.0 200 OK\\r\\nX-Version: {version}\\r\\nContent-Length: 0\\r\\n\\r\\n")
    connection.close()
"""

PSGI = """
my $version = "VERSION";
sub { [200, ["Content-Type" => "text/plain", "X-Version" => $version, "X-Pid" => $$], ["version $version\\n"]] };
"""

PERL = """#!/usr/bin/perl
use strict;
use IO::Socket::INET;
use Server::Starter qw(server_ports);
my ($address) = grep { /^localhost:\\d+$/ } keys %{server_ports()};
my $fd = server_ports()->{$address};
my $listening = IO::Socket::INET->new(Proto => "tcp");
$listening->fdopen($fd, "w") or die "fdopen: $!";
$SIG{TERM} = sub { exit 0 };
while (1) {
    my $connection = $listening->accept or next;
    sysread($connection, my $request, 4096) or next;
    print $connection "HTTP/1.0 200 OK\\r\\nX-Version: VERSION-$ENV{SERVER_STARTER_GENERATION}\\r\\n";
    print $connection "Content-Length: 0\\r\\n\\r\\n";
    close $connection;
}
"""

KEEPER = """#!{python} -IS
import os, socket
listening = [socket.socket(fileno=number) for number in (3, 4)]
os.write(int(os.environ["READY_FD"]), b"ready\\n")
while True:
    listening[0].accept()[0].close()
"""


def script(supervisor: Supervisor, name: str, text: str) -> Path:
    path = supervisor.folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


def worker(supervisor: Supervisor, version: str, *, acks: bool = True) -> Path:
    return script(supervisor, version, EINHORN_WORKER.format(python=sys.executable, version=version, acks=acks))


@pytest.mark.parametrize("method", ["auto", "einhorn"])
def test_a_worker_of_einhorns(supervisor: Supervisor, method: str) -> None:
    supervisor.configure(
        service={"command": [str(supervisor.current)], "dialects": ["einhorn"]}, ready={"method": method}
    )
    supervisor.start(worker(supervisor, "v1"))
    assert supervisor.serving()["ready_by"] == "einhorn"
    assert supervisor.get().version == "v1"
    first = proc.environment(supervisor.pid_of(1))
    supervisor.upgrade(worker(supervisor, "v2"))
    assert supervisor.get().version == "v2"
    assert supervisor.event("generation_told", generation=1)["signal"] == "USR2"
    assert supervisor.event("generation_ended", generation=1)["exit"] == "exit status 0"
    second = proc.environment(supervisor.pid_of(2))
    assert first["EINHORN_MASTER_PID"] == second["EINHORN_MASTER_PID"] == str(supervisor.pid)
    assert (first["EINHORN_CHILD_INDEX"], second["EINHORN_CHILD_INDEX"]) == ("0", "1")
    assert (first["EINHORN_FD_COUNT"], first["EINHORN_FDS"]) == ("1", "3")
    assert not Path(first["EINHORN_SOCK_PATH"]).exists()
    assert Path(second["EINHORN_SOCK_PATH"]).is_socket()


def test_a_worker_that_does_not_ack_is_not_ready(supervisor: Supervisor) -> None:
    supervisor.configure(
        service={"command": [str(supervisor.current)], "dialects": ["einhorn"]}, ready={"method": "einhorn"}
    )
    supervisor.start(worker(supervisor, "v1"))
    supervisor.configure(ready={"timeout": "500ms"})
    ended = supervisor.hup(worker(supervisor, "v2", acks=False))
    assert (ended["result"], ended["reason"]) == (
        "rolled back",
        "not ready in time: nothing was heard of it in 0.5 s (ready.timeout)",
    )
    assert supervisor.get().version == "v1"


@pytest.mark.skipif(
    not Path("/usr/share/perl5/Server/Starter.pm").exists(), reason="libserver-starter-perl is not installed"
)
def test_a_server_of_server_starters(supervisor: Supervisor) -> None:
    supervisor.configure(
        service={"command": [str(supervisor.current)], "dialects": ["server-starter"]},
        listen=[{"name": "http", "address": "localhost:0"}],
    )
    supervisor.start(script(supervisor, "v1", PERL.replace("VERSION", "v1")))
    assert supervisor.get().version == "v1-1"
    supervisor.upgrade(script(supervisor, "v2", PERL.replace("VERSION", "v2")))
    assert supervisor.get().version == "v2-2"
    assert supervisor.event("generation_ended", generation=1)["exit"] == "exit status 0"


@pytest.mark.skipif(
    not Path("/usr/share/perl5/Plack/Handler/Starlet.pm").exists(), reason="Debian's starlet is not installed"
)
def test_starlet(supervisor: Supervisor) -> None:
    """A server with workers of its own, from Debian."""
    plackup = str(shutil.which("plackup"))

    def serve(version: str) -> None:
        app = script(supervisor, f"{version}.psgi", PSGI.replace("VERSION", version))
        command = [plackup, "-E", "deployment", "-s", "Starlet", "--max-workers=2", str(app)]
        supervisor.configure(service={"command": command, "dialects": ["server-starter"]})

    serve("v1")
    supervisor.start()
    assert supervisor.get().version == "v1"
    serve("v2")
    supervisor.upgrade()
    assert supervisor.get().version == "v2"
    supervisor.event("generation_ended", generation=1)
    assert supervisor.stop() == 0


def test_words_of_the_command_and_a_standard_input(supervisor: Supervisor) -> None:
    words = ["--fd={fd:admin},{fd:http}", "{port:admin}", "http://{address:admin}/", "{{fd:http}}", "{{.Name}}", "{}"]
    supervisor.configure(
        service={"command": [str(supervisor.current), *words], "stdin": "admin"},
        listen=[{"name": name, "address": "127.0.0.1:0"} for name in ("http", "admin")],
        ready={"probe": False},
        drain={"timeout": "1s"},  # nobody ever accepts what comes for `admin`
    )
    supervisor.start(script(supervisor, "keeper", KEEPER.format(python=sys.executable)))
    supervisor.upgrade()
    (address,) = [str(each["address"]) for each in supervisor.events("listening") if each["name"] == "admin"]
    port = address.rpartition(":")[2]
    pid = supervisor.pid_of(2)
    fds = proc.fds(pid)
    assert sorted(fds) == [0, 1, 2, 3, 4, 5]
    assert fds[0] == fds[4] != fds[3]
    assert fds[4].startswith("socket:")
    assert fds[5].startswith("pipe:")
    assert proc.environment(pid)["LISTEN_PID"] == str(pid)
    found = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[-7:-1]
    assert found == ["--fd=4,3", port, f"http://{address}/", "{fd:http}", "{{.Name}}", "{}"]
