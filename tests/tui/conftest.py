from __future__ import annotations

import pytest
from textual.strip import Strip

from tests.support.desktop import ready_desktop
from tests.support.tui_host import pass_over_others, shortened


@pytest.fixture(scope="session", autouse=True)
def _shortened_waits():
    with shortened():
        yield


@pytest.fixture(autouse=True)
def _no_threads_of_others():
    pass_over_others()


@pytest.fixture
def app(pilot):
    return pilot.app


@pytest.fixture
async def desk(tmp_path):
    """The app with a server that is ready, and nothing said yet."""
    async with ready_desktop(tmp_path) as desk:
        yield desk


@pytest.fixture
def colours_of_no_other_test(monkeypatch):
    """Styles and blank rows keep what they look like in the colours that any test asked for first."""
    rendered = Strip.render_style

    def rendered_anew(style, text, color_system):
        style._ansi = None
        return rendered(style, text, color_system)

    monkeypatch.setattr(Strip, "render_style", staticmethod(rendered_anew))
    Strip.blank.cache_clear()
    yield
    Strip.blank.cache_clear()
