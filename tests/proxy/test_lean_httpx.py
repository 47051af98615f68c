from __future__ import annotations

import json

import pytest

from tests.support.programs import PYTHON, run

_TOLD = "import sys, json; {} ; print(json.dumps([callable(httpx.main), sorted(sys.modules)]))"
_LEAN = "from lmchat.proxy.lean_httpx import import_httpx; import_httpx(); import httpx, click"


@pytest.fixture
def of_run(tmp_path):
    def run_code(code):
        done = run([PYTHON, "-c", _TOLD.format(code)], home=tmp_path)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run_code


def test_httpx_comes_without_its_command_line_and_what_that_imports(of_run):
    has_main, modules = of_run(_LEAN.removesuffix(", click"))
    assert has_main
    assert not {"httpx._main", "click", "pygments", "rich"} & set(modules)


def test_click_and_the_command_line_can_be_imported_afterwards(of_run):
    _, modules = of_run(f"{_LEAN}, httpx._main")
    assert {"httpx._main", "click"} <= set(modules)


def test_httpx_that_is_there_already_stays_as_it_is(of_run):
    has_main, modules = of_run(f"import httpx._main; was = httpx.main; {_LEAN}; assert httpx.main is was")
    assert has_main
    assert "httpx._main" in modules
