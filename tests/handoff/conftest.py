"""What the tests of the handoff are given."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.harness import builds, network
from tests.harness.load import Load
from tests.harness.supervisor import Supervisor

Servers = Callable[..., Path]
Make = Callable[..., Supervisor]


@pytest.fixture
def make(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """Makes supervisors, and ends all of them."""
    with ExitStack() as stack:

        def make_one(where: network.Network | None = None) -> Supervisor:
            made = Supervisor(tmp_path_factory.mktemp("g"), where)
            stack.callback(made.close)
            return made

        yield make_one


@pytest.fixture
def supervisor(make: Make) -> Supervisor:
    """One, on the host's network, not started yet."""
    return make()


@pytest.fixture(params=[False, True], ids=["no-migration", "migration"])
def migrate(request: pytest.FixtureRequest) -> bool:
    """net.ipv4.tcp_migrate_req."""
    return bool(request.param)


@pytest.fixture
def networked(make: Make, migrate: bool) -> Iterator[Supervisor]:  # noqa: FBT001 - a fixture
    """A supervisor where tcp_migrate_req is as wanted."""
    where = network.network(migrate=migrate)
    yield make(where)
    where.close()


@pytest.fixture
def load() -> Iterator[Callable[..., Load]]:
    """Starts load on a supervisor."""
    with ExitStack() as stack:

        def start(supervisor: Supervisor, targets: Sequence[str] = (), **options: int | str) -> Load:
            made = Load(supervisor.network, targets or [supervisor.address], **options)  # type: ignore[arg-type] # handed on
            stack.callback(made.kill)
            return made

        yield start


@pytest.fixture(scope="session")
def v1() -> Path:
    return builds.go_server("v1")


@pytest.fixture(scope="session")
def v2() -> Path:
    return builds.go_server("v2")
