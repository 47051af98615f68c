"""Dialog with the sampling options that are set: name, value, and where each was set."""

from __future__ import annotations

from collections.abc import Sequence

from lmchat.chat.options import NOTHING_SET, value_words
from lmchat.chat.sampling_layers import SetOption
from lmchat.tui.dialogs.dialog import PickDialog
from lmchat.tui.widgets.line import MUTED
from lmchat.tui.widgets.row_list import ASIDE, NAME, ListRow


def sampling_dialog(options: Sequence[SetOption]) -> PickDialog:
    """Return the list of the options that are set; its result is the name of the chosen one."""
    width = max((len(option.name) for option in options), default=0)
    rows = [
        ListRow(
            (((f" {option.name:<{width}}", NAME),), ((f"  {value_words(option)}", ASIDE),)),
            ((option.origin, MUTED),),
            key=option.name,
        )
        for option in options
    ]
    return PickDialog("Sampling", rows, verb="change it", nothing=NOTHING_SET)
