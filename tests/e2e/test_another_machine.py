"""The guide's lines that move, keep and delete what lmchat has, run as they stand."""

from __future__ import annotations

import json
import os
import re
import shlex

import pytest

from tests.support.programs import LMCHAT, ROOT, put_script, run

GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")


@pytest.mark.posix
@pytest.mark.leaf("imports")
def test_sessions_move_come_back_from_a_backup_and_go(tmp_path):
    section = GUIDE.partition("## Another machine")[2].partition("\n## ")[0]
    pack, unpack, backup, older, delete = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    work = tmp_path / "work"
    work.mkdir()
    chats = [{"messages": [{"role": "user", "content": word}]} for word in ("Peas", "Kale", "Dill")]
    (work / "chats.json").write_text(json.dumps(chats), encoding="utf-8")
    program = put_script(tmp_path / "bin" / "lmchat", f'exec {shlex.join(LMCHAT)} "$@"')
    path = os.pathsep.join((str(program.parent), os.environ["PATH"]))

    def lines(home, text):
        env = {"PATH": path, "PYTHONPATH": str(ROOT)}
        (tmp_path / home).mkdir(exist_ok=True)
        script = f"unset LMCHAT_HOME\n{text}"
        done = run(["bash", "-ec", script], home=tmp_path / home, cwd=work, env=env)
        assert done.returncode == 0, done
        return done.stdout

    def ids(home, before=""):
        rows = json.loads(lines(home, f"{before} lmchat sessions --json"))["data"]
        return {row["id"] for row in rows}

    lines("old", "lmchat import chats.json; lmchat config init")
    lines("old", pack)
    lines("new", unpack)
    assert len(ids("old")) == 3
    assert ids("new") == ids("old")
    assert (tmp_path / "new/.config/lmchat/config.toml").is_file()
    assert "0 chats, 0 messages imported, 3 already existed." in lines("old", backup)
    lines("old", older)
    assert ids("old", before='LMCHAT_HOME="$PWD/older"') == ids("old")
    lines("third", "lmchat import ../old/.config/lmchat/sessions.db")
    assert ids("third") == ids("old")
    # a command that looks for servers makes the other folders
    lines("old", f"mkdir -p ~/.cache/lmchat ~/.local/state/lmchat\n{delete}")
    assert not [*(tmp_path / "old").rglob("lmchat")]
