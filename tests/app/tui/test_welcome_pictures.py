from __future__ import annotations

from lmchat.app.tui.dialogs.ask_dialog import start_question
from lmchat.core.servers.local.installed import ServerStart
from tests.support.look_data import LM_STUDIO
from tests.support.look_pictures import steps
from tests.support.tui_host import Host

LMS_START = ServerStart(
    product="LM Studio",
    argv=("/home/ada/.lmstudio/bin/lms", "server", "start"),
    endpoint=LM_STUDIO,
)


def test_the_question_before_a_start(snap_compare):
    see = steps(sees="run this command")
    host = Host(screen=lambda: start_question(LMS_START))
    assert snap_compare(host, terminal_size=(80, 24), run_before=see)
