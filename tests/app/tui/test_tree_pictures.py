from __future__ import annotations

import pytest

from lmchat.app.tui.dialogs.message_tree import message_tree
from tests.support.look_pictures import PATH, SIZES, TREE, panels, steps

SIZE = ["80x24"]


@pytest.mark.parametrize("size", SIZE)
def test_a_tree_of_three_levels(snap_compare, size):
    app = panels(lambda: message_tree(TREE, PATH))
    assert snap_compare(
        app, terminal_size=SIZES[size], run_before=steps(sees="└ And in full shade?")
    )
