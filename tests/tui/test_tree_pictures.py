"""Pictures of the tree and the trash over the chat; what they show is asserted before each is taken."""

from __future__ import annotations

import pytest

from lmchat.tui.screens.message_tree import MessageTree
from lmchat.tui.screens.trash_dialog import TrashDialog
from tests.support.look_data import NOW
from tests.tui.test_look_pictures import SIZES, panels, steps
from tests.tui.test_message_tree import SHOWN
from tests.tui.test_trash_dialog import DELETED

TWO_SIZES = ("120x40", "80x24")


def made(dialog, data):
    def make():
        dialog.call_later(dialog.show, data)
        return dialog

    return make


@pytest.mark.parametrize("size", TWO_SIZES)
def test_a_tree_of_three_levels(snap_compare, size):
    app = panels(made(MessageTree(lambda *_: None), SHOWN))
    assert snap_compare(app, terminal_size=SIZES[size], run_before=steps(sees="└ And in full shade?"))


@pytest.mark.parametrize("size", TWO_SIZES)
def test_the_trash(snap_compare, size):
    app = panels(made(TrashDialog(lambda *_: None, clock=lambda: NOW), DELETED))
    assert snap_compare(app, terminal_size=SIZES[size], run_before=steps(sees="until 19 December"))
