"""Servers that have never heard of gapless, unchanged: upgraded under load as docs/servers.md says."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.load import Found, Load
from tests.harness.supervisor import Supervisor

ASGI = """
import os
async def app(scope, receive, send):
    assert scope["type"] == "http"
    headers = [(b"content-type", b"text/plain"), (b"x-version", b"VERSION"), (b"x-pid", str(os.getpid()).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"version VERSION\\n"})
"""

WSGI = """
import os
def app(environ, start_response):
    body = b"version VERSION\\n"
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    start_response("200 OK", [*headers, ("X-Version", "VERSION"), ("X-Pid", str(os.getpid()))])
    return [body]
"""

NODE = """
const http = require("node:http");
let leaving = false;
const server = http.createServer((request, response) => {
  response.setHeader("X-Version", "VERSION").setHeader("X-Pid", process.pid);
  if (leaving) response.setHeader("Connection", "close");
  response.end("version VERSION\\n");
});
server.listen({ fd: 3 });
process.on("SIGTERM", () => {
  leaving = true;
  setTimeout(() => server.close(), 1000);
});
"""

NGINX = """
daemon off;
pid nginx.pid;
error_log stderr;
worker_processes 2;
events {}
http {
  access_log off;
  keepalive_requests 1000000;
  client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
  server {
    listen ADDRESS backlog=4096;
    add_header X-Version VERSION;
    return 200 "version VERSION\\n";
  }
}
"""

CONNECTIONS = 20
VERSIONS = ("v1", "v2", "v1", "v2")

GUNICORN = [str(Path(sys.executable).with_name("gunicorn")), "--no-control-socket"]
UVICORN = [str(Path(sys.executable).with_name("uvicorn")), "--fd", "3", "--no-access-log"]
nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
Start = Callable[..., Load]


@pytest.mark.timeout(200)
def test_uvicorn(supervisor: Supervisor, load: Start) -> None:
    found = upgraded(supervisor, load, ASGI, [*UVICORN, "served:app"])
    assert supervisor.serving()["ready_by"] is None
    lost_on_kept_connections_alone(found)


@pytest.mark.timeout(200)
def test_uvicorn_that_keeps_no_connection(supervisor: Supervisor, load: Start) -> None:
    supervisor.configure(ready={"method": "accept"})
    upgraded(supervisor, load, ASGI, [*UVICORN, "--header", "connection:close", "served:app"]).no_failures()


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    "worker", [["--workers", "2"], ["--worker-class", "gthread", "--threads", "8"]], ids=["sync", "gthread"]
)
def test_gunicorn(supervisor: Supervisor, load: Start, worker: list[str]) -> None:
    upgraded(supervisor, load, WSGI, [*GUNICORN, *worker, "served:app"]).no_failures()
    assert supervisor.serving()["ready_by"] == "notify"


def test_gunicorn_says_that_it_is_ready_before_it_can_serve(supervisor: Supervisor, load: Start) -> None:
    """The probe knows better: nobody is sent to an application that cannot be loaded."""
    supervisor.may_trace = True
    command = [*GUNICORN, "served:app"]
    serve(supervisor, WSGI, command, "v1")
    supervisor.start()
    running = load(supervisor, rate=100)
    serve(supervisor, "import nothing_of_that_name", command, "v2")
    ended = supervisor.hup()
    assert (ended["result"], supervisor.serving()["generation"]) == ("rolled back", 1)
    running.answered(20)
    running.stop().no_failures()


@pytest.mark.timeout(200)
@pytest.mark.skipif(shutil.which("node") is None, reason="Debian's nodejs is not installed")
def test_node(supervisor: Supervisor, load: Start) -> None:
    supervisor.configure(ready={"method": "accept"})
    upgraded(supervisor, load, NODE, [str(shutil.which("node")), "served"]).no_failures()


@pytest.mark.timeout(200)
@pytest.mark.skipif(nginx is None, reason="Debian's nginx is not installed")
def test_nginx(supervisor: Supervisor, load: Start) -> None:
    """It takes an inherited socket for the address that its own file says, so that is to be known beforehand."""
    pid = os.getpid()
    address = f"127.{100 + pid // 2**16}.{pid // 2**8 % 2**8}.{pid % 2**8}:8080"  # nobody else's
    supervisor.configure(
        listen=[{"address": address}], service={"environment": {"NGINX": "3;"}}, drain={"signal": "QUIT"}
    )
    supervisor.configure(ready={"method": "accept"})
    command = [str(nginx), "-e", "stderr", "-p", ".", "-c", "served"]
    try:
        found = upgraded(supervisor, load, NGINX.replace("ADDRESS", address), command)
    finally:
        supervisor.stop()  # nginx writes its title over its environment, by which the harness would find it
    lost_on_kept_connections_alone(found)


def lost_on_kept_connections_alone(found: Found) -> None:
    """A server's own doing: told to end, it closes kept connections at once that it calls idle.

    A request that is on its way just then is answered by a reset, at most one for each connection and upgrade.
    """
    assert found.summary["by_mode"]["new"]["failed"] == 0, found.failures
    assert {each.kind for each in found.failures} <= {"reset", "closed"}
    assert len(found.failures) <= (len(VERSIONS) - 1) * CONNECTIONS


def upgraded(supervisor: Supervisor, load: Start, source: str, command: list[str]) -> Found:
    """Three upgrades from one version of the source to the other, under load of both kinds."""
    supervisor.configure(handoff={"probation": "300ms"})
    serve(supervisor, source, command, VERSIONS[0])
    supervisor.start()
    running = load(supervisor, rate=300)
    for version in VERSIONS[1:]:
        serve(supervisor, source, command, version)
        supervisor.upgrade()
        running.answered(100, version=version)
    for generation in range(1, len(VERSIONS)):
        supervisor.event("generation_ended", generation=generation)
    assert supervisor.status()["queue_losses"] == {"migrated": 0, "reset": 0}
    return running.stop()


def serve(supervisor: Supervisor, source: str, command: list[str], version: str) -> None:
    """Let this be what the next handoff finds: the source in a folder of its version, where the command is run."""
    folder = supervisor.folder / version
    folder.mkdir(exist_ok=True)
    for name in ("served", "served.py"):  # a Python module has its ending
        (folder / name).write_text(source.replace("VERSION", version))
    supervisor.configure(service={"command": command, "directory": str(folder)})


@pytest.mark.skipif(
    shutil.which("prometheus-node-exporter") is None, reason="Debian's prometheus-node-exporter is not installed"
)
def test_prometheus_node_exporter(supervisor: Supervisor) -> None:
    """It knows systemd's sockets, and says nothing when it is ready."""
    flags = ["--web.systemd-socket", "--collector.disable-defaults", "--collector.loadavg"]
    supervisor.configure(service={"command": [str(supervisor.current), *flags]})
    supervisor.start(str(shutil.which("prometheus-node-exporter")))
    assert supervisor.serving()["ready_by"] is None
    assert "node_load1" in supervisor.get("/metrics").body
    for generation in (1, 2):
        assert supervisor.upgrade()["from_generation"] == generation
        assert "node_load1" in supervisor.get("/metrics").body
        supervisor.event("generation_ended", generation=generation)
