"""Dialog with the sampling options that are set: name, value, and where each was set."""

from __future__ import annotations

from collections.abc import Sequence

from lmchat.chat.options import NOTHING_SET, value_words
from lmchat.chat.sampling_layers import SetOption
from lmchat.tui.dialogs.dialog import ListDialog
from lmchat.tui.widgets.line import MUTED
from lmchat.tui.widgets.row_list import ASIDE, NAME, ListRow


class SamplingDialog(ListDialog[str | None]):
    """List of sampling options; returns the name of the chosen one, None after Esc."""

    AUTO_FOCUS = ""
    HEADING = "Sampling"

    def __init__(self, options: Sequence[SetOption]) -> None:
        super().__init__(hints=(("Enter", "change it"),) if options else ())
        self._options = options
        self._name_width = max((len(option.name) for option in options), default=0)

    def draw(self) -> None:
        self.show_rows([self._row(option) for option in self._options], nothing=NOTHING_SET)

    def _row(self, option: SetOption) -> ListRow:
        """Return the row of an option: name and value in columns, at the right its origin."""
        name = option.name.ljust(self._name_width)
        return ListRow(
            (((f" {name}", NAME),), ((f"  {value_words(option)}", ASIDE),)),
            ((option.origin, MUTED),),
            key=option.name,
        )

    def action_take(self) -> None:
        if self.list.key is not None:
            self.dismiss(str(self.list.key))
