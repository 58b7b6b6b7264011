"""Scanners' reports against a threshold and exceptions: what blocks, what does not, and what is no report at all."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import OperatorError
from supervisor.releases.judging.exceptions import Allowance, exceptions
from supervisor.releases.judging.report import vulnerabilities
from supervisor.releases.judging.verdict import Verdict, judge
from tests.harness.builds import ROOT

REPORTS = Path(__file__).parent / "reports"
TODAY = date(2026, 11, 28)


def judged(name: str, *allowed: Allowance, threshold: float = 7.0, today: date = TODAY) -> Verdict:
    return judge(vulnerabilities((REPORTS / name).read_bytes(), name), allowed, threshold, today)


def blocking(verdict: Verdict) -> list[str]:
    return [each.found.id for each in verdict.blocking]


def allowance(name: str, until: date = TODAY, package: str = "") -> Allowance:
    return Allowance(id=name, until=until, reason="so it was decided", package=package)


# ---- Trivy


def test_what_scores_high_enough_blocks() -> None:
    """The highest of all sources; a rating where there is no score; what nobody has rated, too."""
    verdict = judged("trivy.json")
    assert blocking(verdict) == ["CVE-2026-9999", "CVE-2024-0001", "CVE-2023-39325"]
    assert {each.found.id: each.because for each in verdict.judged} == {
        "CVE-2026-9999": "nobody has rated it",
        "CVE-2024-0001": "9.0 is not below 7.0",
        "CVE-2023-39325": "7.5 is not below 7.0",
        "CVE-2023-45288": "6.9 is below 7.0",
        "CVE-2009-0001": "5.0 is below 7.0",
    }


@pytest.mark.parametrize(("threshold", "count"), [(0.0, 5), (5.0, 5), (5.1, 4), (7.5, 3), (7.6, 2), (10.0, 1)])
def test_the_threshold_itself_blocks(threshold: float, count: int) -> None:
    assert len(judged("trivy.json", threshold=threshold).blocking) == count


def test_a_score_that_is_no_number_blocks() -> None:
    text = (REPORTS / "trivy.json").read_text().replace('"V3Score": 7.5', '"V3Score": NaN')
    found = judge(vulnerabilities(text.encode(), "x"), (), 7.0, TODAY)
    assert "CVE-2023-39325" in blocking(found)


def test_nothing_found() -> None:
    assert judged("trivy-clean.json").judged == []


# ---- govulncheck


def test_what_is_used_blocks() -> None:
    verdict = judged("govulncheck.json", threshold=10.0)
    assert blocking(verdict) == ["GO-2023-2102"]
    assert str(verdict.judged[0].found) == "GO-2023-2102 in golang.org/x/net v0.10.0 (it is used, fixed in v0.17.0)"
    assert verdict.judged[1].because == "nothing vulnerable is used"


@pytest.mark.parametrize(("level", "count"), [("package", 2), ("module", 2), ("symbol", 1)])
def test_a_coarser_scan_cannot_tell_what_is_used(level: str, count: int) -> None:
    text = (REPORTS / "govulncheck.json").read_text().replace('"scan_level": "symbol"', f'"scan_level": "{level}"')
    assert len(judge(vulnerabilities(text.encode(), "x"), (), 7.0, TODAY).blocking) == count


def test_messages_may_follow_each_other_at_once() -> None:
    text = (REPORTS / "govulncheck.json").read_text()
    dense = "".join(json.dumps(json.loads(part)) for part in text.replace("\n}\n{", "\n}\0{").split("\0"))
    assert vulnerabilities(dense.encode(), "x") == vulnerabilities(text.encode(), "x")


# ---- exceptions


@pytest.mark.parametrize("name", ["CVE-2023-39325", "GHSA-4374-p667-p6c8", "GO-2023-2102"])
def test_an_exception_by_any_of_its_names(name: str) -> None:
    assert blocking(judged("govulncheck.json", allowance(name))) == []


def test_an_exception_ends() -> None:
    last = allowance("CVE-2023-39325", TODAY)
    assert blocking(judged("govulncheck.json", last)) == []
    over = judged("govulncheck.json", last, today=date(2026, 11, 29))
    assert over.blocking[0].because == "what is vulnerable is used, and its exception ended on 2026-11-28"
    again = judged("govulncheck.json", last, allowance("GO-2023-2102", date(2027, 1, 1)), today=date(2026, 11, 29))
    assert blocking(again) == []


def test_an_exception_for_one_package_and_one_for_nothing() -> None:
    here = allowance("CVE-2023-39325", package="golang.org/x/net")
    elsewhere = allowance("CVE-2023-39325", package="golang.org/x/text")
    assert blocking(judged("govulncheck.json", here)) == []
    verdict = judged("govulncheck.json", elsewhere)
    assert blocking(verdict) == ["GO-2023-2102"]
    assert verdict.unused == [elsewhere]


WHOLE = '[[except]]\nid = "CVE-1"\nuntil = 2027-01-31\nreason = "HTTP/2 is off"\n'


def test_a_file_of_exceptions() -> None:
    found = exceptions(f'{WHOLE}\n{WHOLE}package = "x"\n'.encode(), "f")
    assert found == [
        Allowance(id="CVE-1", until=date(2027, 1, 31), reason="HTTP/2 is off"),
        Allowance(id="CVE-1", until=date(2027, 1, 31), reason="HTTP/2 is off", package="x"),
    ]
    assert exceptions(b"", "f") == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[except]", "f is not TOML"),
        ("\x00", "f is not TOML"),
        ("x = 1", "headed [[except]], and nothing else"),
        ("except = 1", "headed [[except]], and nothing else"),
        (WHOLE.replace("id =", "cve ="), "f: except[0].cve is no key of an exception: want id, package, reason, until"),
        (WHOLE.replace('"CVE-1"', "1"), "f: except[0].id is missing or no string"),
        (WHOLE.replace("reason", "#"), "f: except[0].reason is missing or no string"),
        (WHOLE.replace('"HTTP/2 is off"', '""'), "f: except[0].reason is missing"),
        (WHOLE.replace("until", "#"), "f: except[0].until is missing or no date"),
        (WHOLE.replace("2027-01-31", '"2027-01-31"'), "f: except[0].until is missing or no date"),
        (WHOLE.replace("2027-01-31", "2027-01-31T00:00:00Z"), "f: except[0].until is missing or no date"),
        (f"{WHOLE}package = 1", "f: except[0].package is missing or no string"),
    ],
)
def test_a_file_of_exceptions_that_is_wrong(text: str, told: str) -> None:
    with pytest.raises(OperatorError) as refused:
        exceptions(text.encode(), "f")
    assert told in str(refused.value)


# ---- what is no report


@pytest.mark.parametrize("name", ["trivy.json", "govulncheck.json"])
def test_a_report_that_is_cut_short_is_never_clean(name: str) -> None:
    text = (REPORTS / name).read_bytes().rstrip()
    for kept in range(0, len(text), 97):
        if text[:kept].endswith(b"\n}"):
            continue  # between two messages: nothing says that there were to be more
        with pytest.raises(OperatorError):
            vulnerabilities(text[:kept], name)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"1 2",
        b"\xff",
        b"[" * 100_000,
        b'{"SchemaVersion": 2}',
        b'{"version": "2.1.0", "runs": []}',
        b'{"SchemaVersion": 2, "ArtifactName": "x", "Results": 1}',
        b'{"SchemaVersion": 2, "ArtifactName": "x", "Results": [{"Vulnerabilities": [{}]}]}',
        b'{"SchemaVersion": 2, "ArtifactName": "x", "Results": [[]]}',
        b'{"config": {"scanner_name": "govulncheck", "scan_level": "deep"}}',
        b'{"config": {"scanner_name": "govulncheck"}} {"finding": {"osv": "GO-1", "trace": []}}',
        b'{"config": {"scanner_name": "govulncheck"}} 7',
    ],
)
def test_what_is_no_report_is_never_clean(text: bytes) -> None:
    with pytest.raises(OperatorError):
        vulnerabilities(text, "x")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(["trivy.json", "govulncheck.json"]), st.data())
def test_any_value_in_any_place(name: str, data: st.DataObject) -> None:
    """It is understood, or refused in a sentence."""
    text = (REPORTS / name).read_text()
    messages = [json.loads(part) for part in text.replace("\n}\n{", "\n}\0{").split("\0")]
    place = data.draw(st.sampled_from(messages))
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.integers(0, 4)) == 0:
            break
        place = place[key]
    place[key] = data.draw(JSON)
    spoilt = "\n".join(json.dumps(each) for each in messages).encode()
    with suppress(OperatorError):
        judge(vulnerabilities(spoilt, "x"), (), 7.0, TODAY)


# ---- the command


def run(*words: str | Path, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "supervisor", "judge", *words]
    return subprocess.run(command, input=given, capture_output=True, check=False, timeout=30, cwd=ROOT, env=os.environ)


def test_the_command(tmp_path: Path) -> None:
    done = run(REPORTS / "govulncheck.json")
    assert done.returncode == 1
    last = done.stdout.decode().splitlines()[-1]
    assert last == "no: 1 of 2 block: GO-2023-2102 in golang.org/x/net v0.10.0 (it is used, fixed in v0.17.0)"
    allowed = tmp_path / "allowed.toml"
    allowed.write_text('[[except]]\nid = "CVE-2023-39325"\nuntil = 9999-12-31\nreason = "HTTP/2 is off"\n')
    well = run("-", "--exceptions", allowed, given=(REPORTS / "govulncheck.json").read_bytes())
    assert (well.returncode, well.stdout.decode().splitlines()[-1]) == (0, "yes: 2 found, none blocks")
    assert b"allowed until 9999-12-31: HTTP/2 is off" in well.stdout
    machine = json.loads(run(REPORTS / "trivy.json", "--json", "--threshold", "9").stdout)
    assert (machine["blocks"], len(machine["judged"])) == (True, 5)


def test_the_command_s_own_faults(tmp_path: Path) -> None:
    for words, status in (
        ((tmp_path / "none",), 1),
        (("-",), 1),
        ((REPORTS / "trivy.json", "--exceptions", tmp_path / "none"), 1),
        ((REPORTS / "trivy.json", "--threshold", "11"), 2),
    ):
        done = run(*words)
        assert (done.returncode, done.stdout) == (status, b"")
        assert done.stderr.startswith(b"gapless: ")
        assert done.stderr.count(b"\n") == 1
