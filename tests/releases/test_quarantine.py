"""Which release a service begins with where some are in quarantine."""

import shutil
import sys
from pathlib import Path

from supervisor.core.launch import Launch
from supervisor.core.policy import Policy
from supervisor.core.record import Record, Served
from supervisor.daemon_quarantine import instead_of
from supervisor.releases.pin import pin


def test_a_copy_of_one_that_was_put_away_before_it_was_read_is_not_taken(tmp_path: Path) -> None:
    good = pin(Launch(argv=(sys.executable,)))
    bad = pin(Launch(argv=(str(shutil.copy("/bin/cat", tmp_path / "bad")),)))
    copy = pin(Launch(argv=(str(shutil.copy("/bin/cat", tmp_path / "copy")),)))
    other = pin(Launch(argv=(str(shutil.copy("/bin/ls", tmp_path / "other")),)))
    record = Record(served=(Served(release=good, policy=Policy()),)).put_away(bad, "it failed", 0.0, 60.0)
    assert instead_of(copy, record, 1.0)[0] == good
    assert instead_of(other, record, 1.0)[0].path == other.path
    Path(bad.path).unlink()
    assert instead_of(copy, record, 1.0)[0].path == copy.path, "nobody knows any more what it was"
