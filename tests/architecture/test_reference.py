"""The reference pages are what the program's own tables say."""

from __future__ import annotations

from tests.support.reference import DOCS, PAGES


def test_a_reference_page_is_what_the_tables_generate():
    for name, write in PAGES.items():
        assert (DOCS / name).read_text(encoding="utf-8") == write(), (
            "write it anew: python -m tests.support.reference"
        )
