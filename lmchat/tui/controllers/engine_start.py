"""Start of the built-in engine, with its questions: a download, and another try after a failure."""

from __future__ import annotations

import asyncio

from lmchat import units
from lmchat.errors import EngineUnavailable, LMChatError
from lmchat.safe_text import safe_line
from lmchat.servers.engine.model_files import DemoOffer, ModelFile
from lmchat.servers.model import BUILT_IN, LoadState, Target
from lmchat.services.ports import Engine
from lmchat.tui.chat_view import Chat
from lmchat.tui.controllers.current_target import CurrentTarget
from lmchat.tui.controllers.status import StatusDisplay
from lmchat.tui.dialogs.ask_dialog import ConfirmDialog, ProgressDialog


class EngineStart:
    """Starts the built-in engine with a model file; without one, offers a demo model."""

    def __init__(self, chat: Chat, status: StatusDisplay, target: CurrentTarget) -> None:
        self._chat = chat
        self._workspace = chat.workspace
        self._status = status
        self._target = target

    async def run(self, named: str = "") -> bool:
        """Start the engine with the named model, or without a name one that it chooses.

        Return True if it serves the model. Return False if there is no engine, or if the user does
        not want a download. After a failure, ask whether to try again; return False if not.
        """
        if self._workspace.engine is None:
            return False
        engine = self._workspace.engine
        while True:
            try:
                model = await self._choose(engine, named)
                if model is None:
                    return False
                await self._serve(engine, model)
            except LMChatError as error:
                if not await self._wants_to_retry(error):
                    return False
            else:
                return True

    async def _choose(self, engine: Engine, named: str) -> ModelFile | None:
        """Return a model file of this disk; if none can be used, download the demo model.

        Without a name, the configured model is meant; without that, the one that was used last, if
        it was one of the engine. Return None if the user does not want the download, or stops it.
        """
        state = self._workspace.state
        was_engine_last = state.endpoint == BUILT_IN
        last = state.model if was_engine_last else ""
        named = named or self._workspace.local_model or self._workspace.settings.local.model
        model = await engine.choose(named, last=last)
        if model is not None:
            return model
        await engine.check()  # raises an error if the engine could not serve a download
        offer = await engine.offer()
        reason = "" if await engine.files() else "There is no model file on this disk. "
        text = f"{reason}{_offer_words(offer)}"
        if not await self._is_confirmed("Download a demo model?", text, verb="download it"):
            return None
        return await self._download(engine, offer)

    async def _download(self, engine: Engine, offer: DemoOffer) -> ModelFile | None:
        """Download the demo model, with the elapsed time in a dialog; return None if it is stopped.

        Esc leaves the dialog, which stops the download.
        """
        dialog = ProgressDialog(f"Downloading {offer.name}")
        download = asyncio.ensure_future(
            engine.fetch(lambda elapsed_s: dialog.show_progress(f"{elapsed_s:.0f} s"))
        )

        def stop(_: None) -> None:
            download.cancel()

        self._chat.show(dialog, stop)
        try:
            await asyncio.wait([download])  # does not raise if Esc cancels the download
            return None if download.cancelled() else download.result()
        finally:
            download.cancel()
            dialog.dismiss(None)

    async def _serve(self, engine: Engine, model: ModelFile) -> None:
        """Start the engine with a model, and use it from now on; prompts wait until it is loaded.

        If the start fails, the target before it is used again, unless that was the engine, too: its
        server has ended. The error is raised.
        """
        if words := await engine.warning(model):
            self._chat.warn(words)
        old_target = self._target.value
        info = model.info(engine.reserve_address(), LoadState.LOADING)
        self._target.use(Target(endpoint=info.endpoint, product=BUILT_IN, model=info))
        name = safe_line(model.name, limit=20)
        self._status.show_action(f"loading {name}")
        try:
            await engine.start(model)
        except LMChatError:
            was_engine = old_target is not None and old_target.product == BUILT_IN
            self._target.aim_at(None if was_engine else old_target)
            raise
        self._status.show_action(f"loaded {name}")
        self._workspace.monitor.check_now()

    async def _wants_to_retry(self, error: LMChatError) -> bool:
        """Show why the start or the download has failed; return whether the user tries again."""
        title = "The built-in engine cannot be started"
        if isinstance(error, EngineUnavailable) and error.kind == "fetch":
            title = "The demo model could not be downloaded"
        text = f"{safe_line(error.message)}\n\n{safe_line(error.hint)}".strip()
        return await self._is_confirmed(title, text, verb="try again")

    async def _is_confirmed(self, title: str, text: str, *, verb: str) -> bool:
        return bool(await self._chat.ask(ConfirmDialog(title, text=text, verb=verb, key="y")))


def _offer_words(offer: DemoOffer) -> str:
    """Return what the user needs to know before a download: size, licence and folder."""
    return (
        f"{offer.name} is a small model, only for trying lmchat.\n\n"
        f"Size     {units.size_text(offer.download_bytes)}\n"
        f"Licence  {offer.licence}\n"
        f"Folder   {safe_line(str(offer.folder))}"
    )
