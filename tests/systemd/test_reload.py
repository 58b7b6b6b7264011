"""`systemctl reload` under a real systemd: it tells what came of it."""

from tests.systemd.conftest import Servers
from tests.systemd.unit import Load, Unit


def test_reload_returns_when_the_new_one_is_committed_and_loses_nothing(unit: Unit, servers: Servers) -> None:
    unit.configure()
    unit.release(servers.build("v1"))
    unit.start()
    with Load(servers.load(), unit.box, unit.port) as load:
        for handoff, version in enumerate(("v2", "v1", "v2"), 1):
            unit.release(servers.build(version))
            unit.box.systemctl("reload", unit.unit)
            assert unit.history() == ["committed"] * handoff
            assert unit.show("ActiveState") == "active"
            unit.happened("generation_ended")
            load.answered_by(version)
        summary = load.end()
    assert summary["failed"] == 0, summary["failures"]
    assert summary["versions"].keys() == {"v1", "v2"}
    assert summary["requests"] > 300
    assert unit.show("NRestarts") == "0"


def test_reload_fails_where_the_old_one_serves_on(unit: Unit, servers: Servers) -> None:
    unit.configure()
    unit.release(servers.build("v1"))
    unit.start()
    with Load(servers.load(), unit.box, unit.port) as load:
        unit.release(servers.build("bad", "-crash-at-start"))
        assert unit.box.run("systemctl", "reload", unit.unit).returncode == 1
        assert unit.history() == ["rolled back"]
        unit.said("rolled back: ")
        unit.said("Control process exited, code=exited, status=3")
        load.answered_by("v1")
        unit.configure(ready="soon")
        assert unit.box.run("systemctl", "reload", unit.unit).returncode == 1
        assert "want a duration" in unit.said("refused: ")["MESSAGE"]
        unit.said("Control process exited, code=exited, status=4")
        summary = load.end()
    assert summary["failed"] == 0, summary["failures"]
    assert summary["versions"].keys() == {"v1"}
    assert unit.show("ActiveState") == "active"


def test_a_reload_is_given_the_time_that_the_handoff_takes(unit: Unit, servers: Servers) -> None:
    unit.configure(probation="4s")
    unit.release(servers.build("v1"))
    unit.start()
    unit.drop_in("TimeoutStartSec=3s")
    unit.release(servers.build("v2"))
    unit.box.systemctl("reload", unit.unit)
    assert unit.history() == ["committed"]


def test_a_hup_hands_over_without_systemd(unit: Unit, servers: Servers) -> None:
    unit.configure()
    unit.release(servers.build("v1"))
    unit.start()
    unit.release(servers.build("v2"))
    unit.box.systemctl("kill", "--kill-who=main", "--signal=HUP", unit.unit)
    unit.happened("handoff_ended", result="committed")
    assert unit.box.get(unit.port) == (200, "v2")


def test_the_line_of_status_says_what_goes_on(unit: Unit, servers: Servers) -> None:
    def now() -> str:
        return unit.show("StatusText")

    unit.configure()
    unit.release(servers.build("v1"))
    unit.start()
    serving = f"serving release {unit.happened('generation_ready')['event']['release']}"
    assert f'Status: "{serving}"' in unit.box.systemctl("status", unit.unit)
    unit.configure("-never-ready", ready="1m")
    unit.box.systemctl("kill", "--kill-who=main", "--signal=HUP", unit.unit)
    unit.happened("phase", phase="ready")
    assert now() == f"waiting for generation 2 to be ready; {serving}"
    unit.box.succeed("gapless", "abort", "--service", unit.name)
    assert now() == serving
    unit.configure(probation="1m")
    unit.box.systemctl("kill", "--kill-who=main", "--signal=HUP", unit.unit)
    unit.happened("phase", phase="probation")
    assert now() == f"generation 3 on probation; {serving}"
    unit.box.succeed("gapless", "abort", "--service", unit.name)
