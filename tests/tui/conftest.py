from __future__ import annotations

import pytest
from textual.strip import Strip


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
