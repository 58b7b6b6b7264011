from pathlib import Path
from typing import Any

from demo.account import Crash, Figures, Request, accepted_by, judge, read


def asked(due: float, latency: float = 0.001, kind: str = "") -> Request:
    return Request(due, latency, "new", "v1", kind)


def failure(port: int, t: float) -> dict[str, Any]:
    return {"port": port, "t": t, "kind": "reset"}


def summary(*failures: dict[str, Any], failed: int | None = None) -> dict[str, Any]:
    return {"failed": len(failures) if failed is None else failed, "failures": list(failures)}


CRASH = Crash("v8", 77, earliest=99.97, noticed=100.0, accepted=frozenset({4001}), queued=frozenset({4002}))


def test_percentiles_are_of_the_nearest_rank() -> None:
    figures = Figures.of([asked(1, n / 1000) for n in range(1, 1001)], [(0, 2)])
    assert [figures.percentile(share) for share in (0.5, 0.99, 0.999, 1.0)] == [0.5, 0.99, 0.999, 1.0]


def test_one_slow_request_shows_as_the_slowest() -> None:
    figures = Figures.of([*[asked(1)] * 999, asked(1, 0.5)], [(0, 2)])
    assert (figures.percentile(0.999), figures.percentile(1.0)) == (0.001, 0.5)


def test_a_window_has_its_start_and_not_its_end() -> None:
    assert Figures.of([asked(1), asked(2), asked(3)], [(1, 2), (3, 4)]).requests == 2


def test_failures_are_counted_and_have_no_latency() -> None:
    figures = Figures.of([asked(1), asked(1, 5.0, "timeout")], [(0, 2)])
    assert (figures.requests, figures.failed, figures.latencies) == (2, 1, (0.001,))


def test_an_empty_window_has_no_percentile() -> None:
    assert Figures.of([], [(0, 1)]).percentile(0.5) is None


def test_a_failure_is_the_crashed_process_own_only_at_its_death_and_on_its_connections() -> None:
    verdict = judge(summary(failure(4001, 99.98), failure(4002, 100.01)), CRASH)
    assert (len(verdict.inside), len(verdict.queued), verdict.lost_count) == (1, 1, 0)


def test_a_failure_before_or_after_the_crash_is_lost() -> None:
    assert judge(summary(failure(4001, 99.9), failure(4001, 100.5)), CRASH).lost_count == 2


def test_a_failure_of_a_connection_that_the_crashed_process_never_had_is_lost() -> None:
    verdict = judge(summary(failure(4003, 100.01)), CRASH)
    assert (verdict.lost_count, verdict.lost[0]["port"]) == (1, 4003)


def test_without_a_crash_every_failure_is_lost() -> None:
    assert judge(summary(failure(4001, 100.0)), None).lost_count == 1


def test_failures_that_the_generator_did_not_describe_are_lost() -> None:
    assert judge(summary(failure(4001, 100.0), failed=5), CRASH).lost_count == 4


def test_ports_are_read_by_the_process_that_accepted(tmp_path: Path) -> None:
    log = tmp_path / "connections"
    log.write_text("conn 4001 77 v8 1.5\nconn 4002 78 v3 1.6\nconn - 77 v8 1.7\nnonsense\n", encoding="ascii")
    assert accepted_by(log, 77) == {4001}


def test_the_record_is_read_in_the_order_in_which_requests_were_due(tmp_path: Path) -> None:
    record = tmp_path / "record.csv"
    head = "due,latency_us,mode,version,pid,port,kind\n"
    record.write_text(f"{head}2.5,700,new,v2,1,4001,\n1.5,300,keep,,,4002,reset\n", encoding="ascii")
    assert read(record) == [(1.5, 0.0003, "keep", "", "reset"), (2.5, 0.0007, "new", "v2", "")]
