"""What every test shares: only the rule by which a skip can be made to count."""

import os
from collections.abc import Generator

import pytest

NO_SKIPS = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="a skipped test is a failure (so it is with CI=true)")


def pytest_configure(config: pytest.Config) -> None:
    os.environ.pop("COLUMNS", None)  # a width is asked for by the tests that want one, not by who runs them
    config.stash[NO_SKIPS] = config.getoption("--no-skips") or os.environ.get("CI") == "true"
    if config.stash[NO_SKIPS]:
        config.option.continue_on_collection_errors = True  # a module skipped as a whole must not hide the others


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport, config: pytest.Config) -> None:
    if not config.stash[NO_SKIPS] or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"no test may be skipped here (--no-skips or CI=true), and this one was.\n{reason}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report, item.config)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report, collector.config)
    return report
