"""Ready by what it answers over HTTP, and warmed up before its first client."""

import sys
from pathlib import Path

from tests.harness.supervisor import Supervisor

SERVER = """#!{python} -IS
import http.server, os, socket, sys
asked, said = 0, {said!r}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global asked
        asked += 1
        status = said[min(asked, len(said)) - 1]
        print("asked", os.environ["GAPLESS_GENERATION"], self.path, self.headers["Host"], flush=True)
        body = f"asked {{asked}} times".encode()
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:  # the time to warm up was over: nobody waits for this answer
            self.close_connection = True
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("", 0), Handler, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=3)
server.serve_forever(0.01)
"""


def server(supervisor: Supervisor, *said: int) -> Path:
    """Says nothing of itself, and answers with these statuses, the last again and again."""
    path = supervisor.folder / f"server-{'-'.join(map(str, said))}"
    path.write_text(SERVER.format(python=sys.executable, said=said))
    path.chmod(0o755)
    supervisor.configure(service={"command": [str(supervisor.current)]})
    return path


def asked(supervisor: Supervisor, generation: int) -> list[str]:
    """What that generation has been asked, in order."""
    words = [line.split() for line in supervisor.output.text if line.startswith("asked ")]
    return [path for _, number, path, _ in words if number == str(generation)]


def test_ready_is_who_answers_as_wanted(supervisor: Supervisor) -> None:
    good = server(supervisor, 503, 503, 200)
    check = {"path": "/healthz", "body": "asked [0-9]+ times", "interval": "10ms", "headers": {"Host": "web"}}
    supervisor.configure(ready={"method": "http", "http": check})
    supervisor.start(good)
    supervisor.upgrade(good)
    for generation in (1, 2):
        assert asked(supervisor, generation) == ["/healthz"] * 3
    assert supervisor.serving()["generation"] == 2
    assert "web" in next(line for line in supervisor.output.text if line.startswith("asked 2"))


def test_who_answers_otherwise_is_given_up_and_the_last_answer_is_the_reason(supervisor: Supervisor) -> None:
    good, bad = server(supervisor, 200), server(supervisor, 503)
    supervisor.configure(ready={"method": "http", "http": {"path": "/healthz"}})
    supervisor.start(good)
    supervisor.configure(ready={"timeout": "500ms"})
    ended = supervisor.hup(bad)
    assert ended["result"] == "rolled back"
    assert ended["reason"] == "not ready in time: GET /healthz on http was answered with status 503"
    assert supervisor.get().status == 200


def test_a_candidate_is_warmed_up_before_its_first_client(supervisor: Supervisor) -> None:
    good = server(supervisor, 200)
    supervisor.configure(ready={"method": "accept", "warm_up": {"paths": ["/warm", "/warmer"], "rounds": 5}})
    supervisor.start(good)
    supervisor.event("generation_ready", generation=1)
    assert asked(supervisor, 1) == []
    mark = supervisor.mark()
    supervisor.upgrade(good)
    warmed = supervisor.event("warmed_up", mark)
    assert (warmed["generation"], warmed["answered"], warmed["failed"]) == (2, 10, 0)
    assert supervisor.get("/client").status == 200
    supervisor.output.until("the client's request", lambda: "/client" in asked(supervisor, 2))
    assert asked(supervisor, 2) == ["/warm", "/warmer"] * 5 + ["/client"]
    assert asked(supervisor, 1) == []


def test_warming_up_does_not_take_from_the_time_to_be_ready(supervisor: Supervisor) -> None:
    good = server(supervisor, 500)
    warm_up = {"paths": ["/warm"], "rounds": 10_000, "timeout": "2s"}
    supervisor.configure(ready={"method": "accept", "timeout": "1s", "warm_up": warm_up})
    supervisor.start(good)
    mark = supervisor.mark()
    assert supervisor.hup(good)["result"] == "committed"
    assert supervisor.event("warmed_up", mark)["failed"] > 0
