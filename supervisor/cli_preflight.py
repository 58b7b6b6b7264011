"""The report of what is found in a file before it is started, for people or for machines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from msgspec.structs import asdict

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor.releases.preflight.surroundings import Surroundings


def preflight(file: Path, config: Path | None, *, machine: bool) -> bool:
    """Look, and print; whether nothing keeps it from running. Raises ConfigurationError."""
    from supervisor.releases.preflight import surroundings  # noqa: PLC0415 - only this command looks into files
    from supervisor.releases.preflight.look import look  # noqa: PLC0415 - likewise, and it loads pyelftools

    findings = look(str(file.absolute()), surroundings.own() if config is None else _configured(config))
    if machine:
        print(json.dumps([asdict(each) for each in findings], indent=2))
    else:
        from supervisor import cli_findings  # noqa: PLC0415 - machines can do without what draws

        cli_findings.show(findings)
    return all(each.level != "blocks" for each in findings)


def _configured(path: Path) -> Surroundings:
    """As the service of a configuration would be run."""
    from supervisor.config import reading  # noqa: PLC0415 - without a configuration its models are not needed
    from supervisor.releases.preflight import surroundings  # noqa: PLC0415 - as the line above says

    return surroundings.of(reading.load(path).launch())
