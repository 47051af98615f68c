"""lmchat's own screen, which ends at a moment of its start and writes down what was imported until then.

`python -m tests.support.start_child FILE MOMENT [ARGUMENT…]`; `bare` is the moment at which a screen of
Textual's alone is painted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from textual.app import App

LOOK_EVERY_S = 0.02


def main(file: Path, moment: str, arguments: list[str]) -> int:
    if moment == "bare":
        from tests.benchmarks.bare import Bare  # noqa: PLC0415 - what is measured is what is imported

        Bare.on_ready = lambda app: _end(app, file)
        Bare().run()
        return 0
    from lmchat import __main__ as cli  # noqa: PLC0415 - as `lmchat` imports it
    from lmchat.app.tui.app import LMChatApp  # noqa: PLC0415 - after it

    go_on = LMChatApp.on_ready

    def ready(app: LMChatApp) -> None:
        if moment == "painted":
            _end(app, file)
            return
        go_on(app)
        app.set_interval(LOOK_EVERY_S, lambda: MOMENTS[moment](app) and _end(app, file))

    LMChatApp.on_ready = ready
    return cli.main(arguments)


MOMENTS: dict[str, Callable[..., object]] = {
    "server": lambda app: (
        app.dispatcher is not None
        and app.dispatcher.controllers.status.health.state is not None
        and not app.dispatcher.controllers.status.health.is_down
    ),
    "session": lambda app: (
        app.chat_screen.widgets.log.document.entries and app.chat_screen.widgets.log.max_scroll_y
    ),
}


def _end(app: App, file: Path) -> None:
    modules = sorted(name for name, module in sys.modules.items() if module)
    file.write_text(json.dumps({"modules": modules}), encoding="utf-8")
    app.exit()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
