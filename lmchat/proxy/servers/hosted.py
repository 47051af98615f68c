"""What providers have in common that are known by their host: never looked for, used where they are named."""

from __future__ import annotations

from lmchat.proxy.servers.base import Server


class Hosted(Server):
    """A provider elsewhere; its models are always there."""

    start_hint = "Check the network, and the address"
    model_hint = "Choose a model with Ctrl+O"
    load_hint = "Its models are always there"
    empty_hint = "See what the account may use"
