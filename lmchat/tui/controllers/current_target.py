"""Server and model of the next turn, and all changes of them.

The target is one value of server, model and progress of loading. It is None without a server.
"""

from __future__ import annotations

from msgspec.structs import replace

from lmchat.servers.discovery.probe_result import Health
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.model import ModelInfo, Target
from lmchat.tui.chat_view import Chat
from lmchat.tui.controllers.sending import Turns
from lmchat.tui.controllers.status import StatusDisplay


class CurrentTarget:
    """The server and model in use. No other object changes them."""

    def __init__(self, chat: Chat, status: StatusDisplay, turns: Turns) -> None:
        self._chat = chat
        self._status = status
        self._turns = turns
        self._next_turn = chat.next_turn

    @property
    def value(self) -> Target | None:
        return self._next_turn.target

    def has_model(self, model: ModelInfo) -> bool:
        """Return whether a model is the one in use."""
        used = self.value.model if self.value else None
        return used is not None and key_of(used) == key_of(model)

    def use(self, target: Target) -> None:
        """Use a server and its model from now on.

        If the target has a model, this is remembered; unless it is still loading, the waiting
        prompts are sent to it.
        """
        self.aim_at(target)
        if not target.model_id:
            return
        self._chat.remember(lambda state: state.with_model(target.server_id, target.model_id))
        self._status.show_action("model chosen")
        if not target.is_loading:
            self._turns.send_waiting()

    def aim_at(self, target: Target | None) -> None:
        """Set the target, or none, and let the monitor check its server."""
        monitor = self._chat.workspace.monitor
        self._next_turn.target = target
        monitor.aim(target)
        self._status.show_health(monitor.health)

    def take_over(self, health: Health) -> None:
        """Take over product and model from a health check of the server in use.

        Do nothing if the check was one of another server, or found no model. The monitor has these
        values already, so `aim_at`, after which it checks again, is not called.
        """
        target = self.value
        if target is None or health.model is None or health.endpoint != target.endpoint:
            return
        product = health.product or target.product
        self._next_turn.target = replace(target, product=product, model=health.model)

    def change_load(self, model: ModelInfo, **changes: float | bool | None) -> bool:
        """Change how far a model is loaded; return False if it is not the one in use."""
        target = self.value
        if target is None or not self.has_model(model):
            return False
        self._next_turn.target = replace(target, **changes)
        self._status.refresh()
        return True


def key_of(model: ModelInfo) -> tuple[Endpoint, str]:
    """Return by what a model is known, in any state."""
    return model.endpoint, model.model_id
