"""What is typed takes effect in the order in which it was typed."""

from __future__ import annotations

from textual.widget import Widget


async def run_own_binding(widget: Widget, key: str) -> bool:
    """Do at once what a key means to a widget with the focus; tell whether it means anything.

    Textual does it when the key has gone up to the app, and by then has inserted the characters that were
    typed after it: of `abc`, Backspace and `d` in one go, the `d` would be deleted.
    """
    for binding in widget._bindings.key_to_bindings.get(key, ()):
        if not binding.priority and await widget.app.run_action(binding.action, widget):
            return True
    return False
