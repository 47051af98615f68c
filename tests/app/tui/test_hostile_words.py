"""Every dialog and page, filled with words that a terminal would obey: none of them reaches it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from lmchat.app.tui.dialogs.ask_dialog import (
    AskDialog,
    ConfirmDialog,
)
from lmchat.app.tui.dialogs.context_dialog import ContextDialog
from lmchat.app.tui.dialogs.model_picker import ModelPicker, ModelRecord, file_picker
from lmchat.app.tui.dialogs.probabilities_dialog import ProbabilitiesDialog
from lmchat.app.tui.dialogs.search_dialog import SearchDialog
from lmchat.app.tui.welcome.server_rows import LocalSetup
from lmchat.app.tui.welcome.welcome_screen import WelcomeScreen
from lmchat.core.chat.preview import ContextItem, ContextList
from lmchat.core.servers.discovery.status import STATUS, ServerStatus
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.local.demo import SMOLLM2
from lmchat.core.servers.local.gguf import ModelFile
from lmchat.core.servers.local.installed import Installed
from lmchat.core.servers.model import LoadState, ModelInfo
from lmchat.core.sessions.message import Role, text_message
from lmchat.core.sessions.session import SearchHit
from lmchat.core.sessions.tokens import Alternative, AnswerTokens, TokenProbabilities
from tests.support.hostile import EVIL, OBEYED
from tests.support.look_data import model_picker, search_dialog
from tests.support.start_desk import bare_page, found
from tests.support.tui_host import Host, drawn, screen_text

NOW = datetime(2026, 11, 20, 14, 2, tzinfo=UTC)
AT = Endpoint(scheme="http", host="evil\x1b[31mx[/q]", port=1234)
FILE = ModelFile(path=Path("/" + EVIL), name=EVIL, size_bytes=5, source=EVIL, quantization=EVIL)
OFFER = replace(SMOLLM2, name=EVIL, licence=EVIL, download_bytes=1)
HERE = LocalSetup(
    installed=(Installed(product="Ollama", start=("/" + EVIL,), how_to_start=EVIL),),
    files=(FILE,),
    offer=OFFER,
)


def model(state: LoadState = LoadState.LOADED) -> ModelInfo:
    return ModelInfo(
        model_id=EVIL,
        endpoint=AT,
        product="Jan",
        state=state,
        quantization=EVIL,
        params=EVIL,
        owned_by=EVIL,
    )


def picker() -> ModelPicker:
    rows = [ModelRecord(model=model(state), server_name=EVIL) for state in LoadState]
    picker = model_picker(rows)
    picker.update_rows(rows, age_s=1.0, note=EVIL)
    return picker


def show_context(dialog: ContextDialog) -> None:
    item = ContextItem(author=EVIL, text=EVIL, message_id="a", state="not sent", tokens=3)
    dialog.show(ContextList(items=(item,), tokens=3, limit=None, is_estimated=True))


def searching() -> SearchDialog:
    words = {"title": EVIL, "model": EVIL, "before": EVIL, "match": EVIL, "after": EVIL}
    hit = SearchHit(session_id="s", message_id="m", role="assistant", created_at=NOW, **words)
    return search_dialog([hit], EVIL)


def page() -> WelcomeScreen:
    places = [
        ServerStatus(
            endpoint=Endpoint(scheme="http", host="localhost", port=port),
            product="Ollama",
            reason=reason,
            detail=EVIL,
            next_step=EVIL,
            models=(model(),),
        )
        for port, reason in enumerate(STATUS, 1)
    ]
    return bare_page(found(places, HERE, problem=EVIL))


def choices() -> ProbabilitiesDialog:
    top = (Alternative(token=EVIL, logprob=-1.0), Alternative(token=f"{EVIL}!", logprob=-2.0))
    choice = TokenProbabilities(token=EVIL, logprob=-1.0, text=EVIL, top=top)
    return ProbabilitiesDialog(AnswerTokens(text_message(Role.ASSISTANT, EVIL), [choice]))


SCREENS = {
    "ask": (partial(AskDialog, EVIL, text=EVIL, value=EVIL), lambda one: one.show_problem(EVIL)),
    "choices": (choices, None),
    "confirm": (partial(ConfirmDialog, EVIL, text=EVIL), None),
    "files": (partial(file_picker, [FILE]), None),
    "models": (picker, None),
    "search": (searching, None),
    "context": (partial(ContextDialog, lambda *_: None), show_context),
    "welcome": (page, None),
}


async def test_no_word_from_outside_reaches_the_terminal_as_a_command():
    sizes = [(120, 40), (60, 20)]
    async with drawn(Host(), sizes[0]) as (app, pilot):
        for name, (make, fill) in SCREENS.items():
            await app.push_screen(make())
            await pilot.pause()
            if fill is not None:
                fill(app.screen)
            await app.workers.wait_for_complete()
            for size in sizes:
                await pilot.resize_terminal(*size)
                await pilot.pause()
                shown = screen_text(app)
                assert not OBEYED & set(shown), name
                assert "x[/q]" in shown, f"{name}: the words are there, and no markup"
            sizes.reverse()
            await app.pop_screen()
