"""A pytest plugin: a test in which anything connects to another machine fails, child processes included."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

GUARD = Path(__file__).parent / "guard"
REPORT = "TEST_NETWORK_REPORT"


def pytest_configure(config):
    folder = tempfile.TemporaryDirectory(prefix="network-guard-")
    config.add_cleanup(folder.cleanup)
    os.environ[REPORT] = str(Path(folder.name) / "report")
    paths = [str(GUARD), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    sys.modules.pop("sitecustomize", None)  # the system's own, if it has one
    sys.path.insert(0, str(GUARD))
    try:
        import sitecustomize  # noqa: PLC0415 - the guard of this process
    finally:
        sys.path.remove(str(GUARD))
    sitecustomize.install()


@pytest.fixture(autouse=True)
def without_lm_studio(monkeypatch):
    """Hide the person's own LM Studio, which a search looks for among the programs that run."""
    every = psutil.process_iter
    monkeypatch.setattr(
        psutil, "process_iter", lambda facts: iter(()) if facts == ["name"] else every(facts)
    )


def take_report():
    report = Path(os.environ[REPORT])
    lines = report.read_text(encoding="utf-8").splitlines() if report.exists() else []
    report.unlink(missing_ok=True)
    return lines


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    result = yield
    lines = take_report()
    if lines:
        pytest.fail("left this machine:\n" + "\n".join(lines), pytrace=False)
    return result


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """Report what came outside the body of a test."""
    lines = take_report()
    if lines:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        session.config.pluginmanager.get_plugin("terminalreporter").write_line(
            "left this machine, outside a test:\n" + "\n".join(lines), red=True
        )
