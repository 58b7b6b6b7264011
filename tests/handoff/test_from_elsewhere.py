"""Servers that have never heard of gapless, unchanged, and silent about being ready."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.load import Load
from tests.harness.supervisor import Supervisor

APP = """
import os
async def app(scope, receive, send):
    assert scope["type"] == "http"
    headers = [(b"content-type", b"text/plain"), (b"x-version", b"VERSION"), (b"x-pid", str(os.getpid()).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"version VERSION\\n"})
"""


@pytest.mark.timeout(200)
def test_uvicorn(supervisor: Supervisor, load: Callable[..., Load]) -> None:
    apps = supervisor.folder / "apps"
    for version in ("v1", "v2"):
        (apps / version).mkdir(parents=True)
        (apps / version / "served.py").write_text(APP.replace("VERSION", version))
    uvicorn = Path(sys.executable).with_name("uvicorn")

    def serve(version: str) -> None:
        command = [str(uvicorn), "--fd", "3", "--app-dir", str(apps / version), "--no-access-log", "served:app"]
        supervisor.configure(service={"command": command})

    serve("v1")
    supervisor.use(uvicorn)
    supervisor.configure(handoff={"probation": "500ms"})
    supervisor.start()
    assert supervisor.serving()["ready_by"] is None
    running = load(supervisor, rate=300)
    for version in ("v2", "v1", "v2"):
        serve(version)
        supervisor.upgrade()
        running.answered(100, version=version)
    for generation in (1, 2, 3):
        supervisor.event("generation_ended", generation=generation)
    found = running.stop()
    assert found.summary["by_mode"]["new"]["failed"] == 0, found.failures
    # When it is told to end, uvicorn at once closes kept connections that it calls idle; a request that is on its way
    # just then is answered by a reset. That is its own doing, and at most one for each connection and upgrade.
    assert {each.kind for each in found.failures} <= {"reset", "closed"}
    assert len(found.failures) <= 3 * 20
    assert supervisor.status()["queue_losses"] == {"migrated": 0, "reset": 0}


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
