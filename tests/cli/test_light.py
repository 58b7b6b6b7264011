"""What the commands that ask a supervisor do without: loading is most of the time that they take."""

import subprocess
import sys

import pytest

ASKING = ("cli", "cli_ask", "cli_live", "cli_status", "cli_layout", "cli_report", "cli_diff")


@pytest.mark.parametrize("package", ["msgspec", "pydantic", "structlog", "asyncio"])
def test_they_do_without(package: str) -> None:
    loads = "; ".join(f"import supervisor.{each}" for each in ASKING)
    says = f"import sys; {loads}; sys.exit({package!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", says], check=False).returncode == 0
