"""What every test shares: the rule by which a skip can be made to count, and an environment like everybody's."""

import os
import signal
from collections.abc import Generator

import pytest

NO_SKIPS = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="a skipped test is a failure (so it is with CI=true)")


def pytest_configure(config: pytest.Config) -> None:
    _heed_what_a_background_job_ignores()
    os.environ.pop("COLUMNS", None)  # a width is asked for by the tests that want one, not by who runs them
    config.stash[NO_SKIPS] = config.getoption("--no-skips") or os.environ.get("CI") == "true"
    if config.stash[NO_SKIPS]:
        config.option.continue_on_collection_errors = True  # a module skipped as a whole must not hide the others


def _heed_what_a_background_job_ignores() -> None:
    """A shell without job control has what it starts with `&` ignore these, and all that the tests start would, too."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


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
