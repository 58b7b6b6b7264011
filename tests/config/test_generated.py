"""Ten thousand configurations: each is taken whole, or refused in one line that says what is wrong and what would."""

from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from supervisor.config import reading
from supervisor.config.tables import Configuration
from supervisor.core.policy import Policy, restart_after
from supervisor.errors import ConfigurationError
from tests.config.generated import ANYTHING, RIGHT, spoilt

MANY = settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))

EXAMPLE = """
[service]
name = "web"
command = ["/srv/web/current/server", "--flag"]
[service.environment]
PORT = "80"
[[listen]]
name = "http"
address = "127.0.0.1:8080"
[ready]
timeout = "30s"
"""


def taken(configuration: Configuration) -> None:
    """All that the daemon makes of it can be made."""
    policy = configuration.policy()
    assert isinstance(policy, Policy)
    assert all(restart_after(deaths, policy) <= policy.restart_longest for deaths in (1, 2, 999, 1000, 10**6))
    assert configuration.launch().argv
    assert len(configuration.clearance().gates) == len(configuration.gate)
    assert (configuration.launch().store is None) == (configuration.releases.root is None)
    addresses = configuration.addresses
    assert len({each.name for each in addresses}) == len(addresses) > 0


def tell(refused: ConfigurationError, source: str) -> None:
    """It is one line that a person can read."""
    text = str(refused)
    assert text.startswith(source)
    assert text.isprintable()
    assert len(text) < 4000
    for leak in ("after validation", "pydantic", "<class", "input should", "ValidationError", "ListenTable"):
        assert leak not in text.replace(source, "") or leak in source
    assert any(
        word in text for word in ("want", "did you mean", "known", "write", "leave", "is not TOML", "UTF-8", "use")
    )


@MANY
@given(RIGHT)
def test_right_ones(data: dict[str, Any]) -> None:
    try:
        taken(reading.parse(data, "test"))
    except ConfigurationError as refused:
        told = str(refused)
        assert any(
            reason in told
            for reason in ("listeners have", "is there", "longest", "fe80", "all generations", "gates have")
        )


@settings(MANY, max_examples=300)
@given(spoilt())
def test_spoilt_ones(several: list[dict[str, Any]]) -> None:
    for data in several:
        try:
            taken(reading.parse(data, "test"))
        except ConfigurationError as refused:
            tell(refused, "test: ")


@settings(MANY, max_examples=1000)
@given(st.dictionaries(st.text(max_size=10) | st.sampled_from(["service", "listen"]), ANYTHING, max_size=4))
@example({"[key]": []})
def test_anything(data: dict[str, Any]) -> None:
    try:
        taken(reading.parse(data, "test"))
    except ConfigurationError as refused:
        tell(refused, "test: ")


@settings(MANY, max_examples=1000)
@given(st.data())
def test_files(tmp_path_factory: Any, data: st.DataObject) -> None:  # noqa: ANN401 - pytest keeps its type to itself
    path = Path(tmp_path_factory.getbasetemp()) / "generated.toml"
    raw = bytearray(EXAMPLE.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b'"', b"[", b"="])
        )
    path.write_bytes(raw)
    try:
        taken(reading.load(path))
    except ConfigurationError as refused:
        tell(refused, str(path))
