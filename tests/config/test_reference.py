"""The reference pages are what the program's own tables say."""

from __future__ import annotations

from tests.support.reference import DOCS, PAGES, configuration_page


def test_a_reference_page_is_what_the_tables_generate():
    for name, write in PAGES.items():
        assert (DOCS / name).read_text(encoding="utf-8") == write(), (
            "write it anew: python -m tests.support.reference"
        )


def test_no_limit_is_told_with_an_exponent():
    assert "e+" not in configuration_page()
