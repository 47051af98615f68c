"""Dialog for the API key of a server: where its product shows it, and a masked input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from textual import on
from textual.widget import Widget
from textual.widgets import Input, Static

from lmchat.domain.server import Endpoint, Product
from lmchat.text import safe_line
from lmchat.tui.intents import TryKey
from lmchat.tui.screens.dialog import Dialog
from lmchat.tui.widgets.field import Field
from lmchat.tui.widgets.line import MUTED, content

WHERE: Mapping[Product, str] = {
    Product.LM_STUDIO: "LM Studio shows it under Developer, Server settings, Manage tokens.",
    Product.JAN: "Jan shows it under Settings, Local API Server, API key.",
    Product.LLAMA_CPP: "It is what llama-server was started with: --api-key, or LLAMA_API_KEY.",
    Product.OLLAMA: "Ollama itself wants none: the proxy in front of it does. Ask whoever runs it.",
    Product.VLLM: "It is what vLLM was started with: --api-key, or VLLM_API_KEY.",
    Product.SGLANG: "It is what SGLang was started with: --api-key.",
    Product.LITELLM: "It is LiteLLM's master key, or a virtual key made with it.",
    Product.BUILT_IN: "lmchat made it up for this run: start lmchat again.",
    Product.OPENAI: "Make one at platform.openai.com/api-keys.",
    Product.MISTRAL: "Make one at console.mistral.ai/api-keys.",
    Product.ANTHROPIC: "Make one at console.anthropic.com/settings/keys.",
    Product.GEMINI: "Make one at aistudio.google.com/apikey.",
    Product.OPENROUTER: "Make one at openrouter.ai/settings/keys.",
    Product.OPENAI_COMPATIBLE: "Ask whoever runs the server.",
}
"""Where each product shows its key."""


class KeyDialog(Dialog[str | None]):
    """Dialog that posts each key to try; the caller shows the verdict, or dismisses it."""

    HINTS = (("Enter", "try it"),)

    def __init__(self, product: Product, endpoint: Endpoint, *, is_rejected: bool = False) -> None:
        super().__init__()
        self.endpoint = endpoint
        self._product = product
        self._is_rejected = is_rejected

    def title_text(self) -> str:
        is_known = self._product is not Product.OPENAI_COMPATIBLE
        return f"{self._product.value if is_known else 'The server'} wants a key"

    def compose_content(self) -> Iterable[Widget]:
        address = safe_line(self.endpoint.url)
        yield Static(
            content(
                ((f"{WHERE.get(self._product, WHERE[Product.OPENAI_COMPATIBLE])}\n", ""), (address, MUTED))
            ),
            classes="words gap",
        )
        yield Field(is_masked=True, placeholder="Paste or type it; it is not shown")
        yield Static("", classes="verdict gap")

    def on_mount(self) -> None:
        self.add_class("-small")
        if self._is_rejected:
            self.show_verdict("The key used so far was refused.", is_good=False)

    def show_verdict(self, words: str, *, is_good: bool | None = None) -> None:
        """Show the verdict on the key; None while it is tried."""
        if not self.can_show:
            return
        style = MUTED if is_good is None else "$success" if is_good else "$error"
        sign = "! " if is_good is False and words else ""
        self.query_one(".verdict", Static).update(content(((f"{sign}{safe_line(words)}", style),)))

    @on(Input.Changed)
    def forget_verdict(self, event: Input.Changed) -> None:
        event.stop()
        if event.value:
            self.show_verdict("")

    @on(Input.Submitted)
    def try_key(self, event: Input.Submitted) -> None:
        event.stop()
        key = event.value.strip()
        if not key:
            self.show_verdict("Type the key, or leave with Esc.", is_good=False)
            return
        self.show_verdict("Trying it")
        self.post_message(TryKey(key))
