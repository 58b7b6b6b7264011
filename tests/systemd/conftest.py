"""A box for all tests here, with gapless installed as docs/systemd.md says, and a unit of its own for each test."""

import itertools
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.systemd.box import Box, obstacle
from tests.systemd.unit import Unit

ROOT = Path(__file__).resolve().parents[2]
GAPLESS = ROOT / ".venv/bin/gapless"

numbers = itertools.count(1)


@pytest.fixture(scope="session")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("share")


@pytest.fixture(scope="session")
def box(share: Path) -> Generator[Box, None, None]:
    if reason := obstacle():
        pytest.skip(reason)
    with Box(share) as made:
        (made.root / "run/systemd/system/gapless@.service").write_bytes(
            (ROOT / "systemd/gapless@.service").read_bytes()
        )
        (made.root / "etc/gapless").mkdir()
        made.succeed("ln", "-sf", str(GAPLESS), "/usr/local/bin/gapless")
        made.systemctl("daemon-reload")
        yield made


class Servers:
    """Builds of the example server, made when first asked for, and of the load generator."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()

    def build(self, version: str, flags: str = "") -> Path:
        """The server of that version, with misbehaviour baked in."""
        linked = f"-X main.version={version} -X 'main.baked={flags}'"
        return self._go(ROOT / "examples/go-server", self._folder / version, f"-ldflags={linked}")

    def load(self) -> Path:
        return self._go(ROOT / "benchmarks/load", self._folder / "load")

    def _go(self, source: Path, target: Path, *options: str) -> Path:
        if not target.exists():
            go = [str(ROOT / "scripts/go"), "build", "-C", str(source), *options, "-o", str(target), "."]
            subprocess.run(go, check=True, capture_output=True)
        return target


@pytest.fixture(scope="session")
def servers(box: Box, share: Path) -> Servers:
    assert box.pid
    return Servers(share / "servers")


@pytest.fixture
def unit(box: Box, share: Path) -> Generator[Unit, None, None]:
    number = next(numbers)
    with Unit(box, f"web-{number}", 8000 + number, share / f"web-{number}") as made:
        yield made
