"""A box for all tests here, with gapless installed for everybody in it, and a unit of its own for each test."""

import itertools
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.systemd.box import Box, obstacle
from tests.systemd.unit import Unit

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = "/usr/local/lib/gapless"

# The checkout, and the Python that it uses, may be in a home that only root may enter.
PYTHON = f"{INSTALLED}/python/bin/python{sysconfig.get_python_version()}"
PATHS = (f"PYTHONPATH={INSTALLED}/checkout:{INSTALLED}/packages", f"LD_LIBRARY_PATH={INSTALLED}/python/lib")
GAPLESS = f"""\
#!/bin/sh
export {" ".join(PATHS)}
exec {PYTHON} -m supervisor "$@"
"""

numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All in one worker, where several share the work: it takes a while to boot a box."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("systemd"))


@pytest.fixture(scope="session")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("share")
    folder.chmod(0o755)  # a server may be run by anybody
    return folder


@pytest.fixture(scope="session")
def box(share: Path) -> Generator[Box, None, None]:
    if reason := obstacle():
        pytest.skip(reason)
    with installed(share) as made:
        yield made


@contextmanager
def installed(share: Path) -> Iterator[Box]:
    """A box with gapless in it."""
    with Box(share) as made:
        shutil.copy(ROOT / "systemd/gapless@.service", made.root / "run/systemd/system")
        (made.root / "etc/gapless").mkdir()
        _install(made)
        made.systemctl("daemon-reload")
        yield made


def _install(box: Box) -> None:
    sources = {"checkout": str(ROOT), "packages": sysconfig.get_path("purelib"), "python": sys.base_prefix}
    for name, source in sources.items():
        box.succeed("mkdir", "-p", f"{INSTALLED}/{name}")
        box.succeed("mount", "--bind", "-o", "ro", source, f"{INSTALLED}/{name}")
    program = box.root / "usr/local/bin/gapless"
    program.unlink(missing_ok=True)
    program.write_text(GAPLESS)
    program.chmod(0o755)


def python(program: str) -> list[str]:
    """The command by which a box runs a few lines that use gapless's own modules."""
    return ["env", *PATHS, PYTHON, "-c", program]


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
