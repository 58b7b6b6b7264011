"""docs/walk-through.md: each command does what the page says, under load, and no request is lost."""

import json
import subprocess

import pytest

from tests.handoff import walk_through
from tests.harness.builds import ROOT


def test_the_walk_through_goes_as_it_is_written() -> None:
    if subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, check=False).returncode:
        pytest.skip("a release is made of what is committed, and this is no git checkout")
    walked = walk_through.walk()
    assert walked.status == 0, "\n".join(walked.printed)
    for step, printed in zip(walk_through.steps(), walked.printed, strict=False):
        if step.printed:
            assert walk_through.words(step.printed) == walk_through.words(printed), step.commands
    found = json.loads(walked.load)
    assert (found["failed"], found["requests"] > 1000) == (0, True), found["failures"][:20]
    assert min(found["versions"]["v1"], found["versions"]["v2"]) > 100, "both have served under the load"
