"""What a child is told, as far as the configuration decides it."""

from typing import Any

import pytest

from supervisor.config import reading
from supervisor.config.summary import summary
from supervisor.config.tables import Configuration
from supervisor.errors import ConfigurationError


def configured(addresses: tuple[str, ...] = ("127.0.0.1:80",), **tables: Any) -> Configuration:  # noqa: ANN401 - what TOML can say
    service = {"name": "web", "command": ["/bin/true"], **tables.pop("service", {})}
    listen = [{"name": f"n{number}", "address": address} for number, address in enumerate(addresses)]
    return reading.parse({"service": service, "listen": listen, **tables}, "f")


NINE = tuple(f"127.0.0.1:{number}" for number in range(80, 89))


@pytest.mark.parametrize(
    ("service", "more", "told"),
    [
        ({"command": ["/x", "--fd={fd:http}"]}, {}, "{fd:http} names no listener: known are n0. If it is to stay as"),
        ({"stdin": "http"}, {}, 'service.stdin = "http": want the name of a listener: known are n0'),
        ({"stdin": "n7"}, {"addresses": NINE}, 'service.stdin = "n7": want one of the first 7 listeners'),
        ({"dialects": ["unicorn"]}, {}, 'service.dialects[0] = "unicorn": want einhorn or server-starter'),
        ({"dialects": "einhorn"}, {}, 'want a list of dialects, such as dialects = ["einhorn"]'),
        (
            {"dialects": ["einhorn"], "environment": {"EINHORN_FDS": "3"}},
            {},
            'service.environment.EINHORN_FDS: is set by gapless itself for "einhorn"',
        ),
        ({}, {"ready": {"method": "einhorn"}}, 'want service.dialects = ["einhorn"] with it'),
        ({"capabilities": ["net_bind"]}, {}, 'service.capabilities[0] = "net_bind": want the name of a capability'),
        ({"groups": ["nosuchgroup"]}, {}, 'service.groups = ["nosuchgroup"]: want the name of a group of this host'),
        ({"nice": 20}, {}, "service.nice = 20: want at most 19"),
        ({"nice": "5"}, {}, 'service.nice = "5": want a whole number from -20 to 19'),
        ({"oom_score_adj": -1001}, {}, "service.oom_score_adj = -1001: want at least -1000"),
        ({"limits": {"nofiles": 1}}, {}, "want one of as, core, cpu, data, fsize, locks, memlock, msgqueue, nice,"),
    ],
)
def test_what_cannot_be_is_told_with_what_would_do(service: dict[str, Any], more: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        configured(service=service, **more)
    assert told in str(refused.value)


def test_einhorns_workers_are_sent_usr2_unless_told_otherwise() -> None:
    dialect = {"dialects": ["einhorn"]}
    assert configured(service=dialect).policy().drain_signal == "USR2"
    assert configured(service=dialect, drain={"signal": "TERM"}).policy().drain_signal == "TERM"
    assert configured(service=dialect, drain={"timeout": "3s"}).policy().drain_signal == "USR2"
    assert configured().policy().drain_signal == "TERM"
    assert any("it gets USR2" in line for line in summary(configured(service=dialect)))


def test_the_last_listener_that_stdin_can_be() -> None:
    assert configured(NINE, service={"stdin": "n6"}).launch().stdin == "n6"


def test_the_pinned_command_keeps_its_templates() -> None:
    command = ["/bin/true", "{fd:n0}", "{{.Name}}"]
    assert configured(service={"command": command}).launch().argv == tuple(command)


def test_names_of_capabilities_are_taken_as_people_write_them() -> None:
    names = ["net_bind_service", "CAP_SYS_NICE", "cap_chown"]
    assert configured(service={"capabilities": names}).launch().capabilities == (
        "net_bind_service",
        "sys_nice",
        "chown",
    )
    assert configured(service={"capabilities": []}).launch().capabilities == ()
    assert configured().launch().capabilities is None


def test_what_was_said_to_gapless_in_a_dialect_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EINHORN_MASTER_PID", "1")
    monkeypatch.setenv("SERVER_STARTER_PORT", "80=3")
    kept = {"SERVER_STARTER_PORT": "by hand"}
    assert dict(configured(service={"environment": kept}).launch().environment).items() >= kept.items()
    assert "EINHORN_MASTER_PID" not in dict(configured().launch().environment)
    assert "SERVER_STARTER_PORT" not in dict(configured().launch().environment)
