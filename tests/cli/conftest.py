"""A supervisor to ask."""

from collections.abc import Iterator

import pytest

from tests.harness import builds
from tests.harness.supervisor import Supervisor


@pytest.fixture
def supervisor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    """One that serves v1, and would hand over to v2."""
    made = Supervisor(tmp_path_factory.mktemp("g"))
    made.configure(handoff={"probation": "200ms"})
    made.start(builds.go_server("v1"))
    made.use(builds.go_server("v2"))
    yield made
    made.close()
