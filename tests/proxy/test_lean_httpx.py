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


_ASKING = """
import asyncio, importlib.util, json, sys
if importlib.util.find_spec("sniffio") is not None:
    sys.exit(3)
from lmchat.proxy.lean_httpx import import_httpx
import_httpx()
import httpx
async def ask():
    async with httpx.AsyncClient(trust_env=False) as client:
        try:
            await client.get("http://127.0.0.1:1")
        except httpx.ConnectError:
            pass
asyncio.run(ask())
class Finder:
    def find_spec(name, *_):
        looked_for.append(name)
looked_for = []
sys.meta_path.insert(0, Finder)
asyncio.run(ask())
print(json.dumps(looked_for))
"""


def test_a_request_looks_for_no_module_that_is_not_there(tmp_path):
    done = run([PYTHON, "-c", _ASKING], home=tmp_path)
    if done.returncode == 3:
        pytest.skip("sniffio is installed")
    assert (done.returncode, json.loads(done.stdout)) == (0, []), done.stderr
