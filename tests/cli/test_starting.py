from __future__ import annotations

from lmchat.cli.commands import ParsedOptions
from lmchat.cli.context import Context
from lmchat.cli.local import make_launcher
from lmchat.cli.output import Output


def test_the_command_that_installs_the_engine_is_that_of_this_python(monkeypatch, tmp_path):
    context = Context(ParsedOptions(), {"LMCHAT_HOME": str(tmp_path)}, Output())
    there = {"pip"}
    monkeypatch.setattr("sys.executable", "/opt/my env/bin/python")
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(
        "lmchat.engine.download.importlib.util.find_spec", lambda name: name in there or None
    )
    assert (
        make_launcher(context).engine_command
        == "'/opt/my env/bin/python' -m pip install 'lmchat[local]'"
    )
    there.clear()
    uv = "uv pip install --python '/opt/my env/bin/python' 'lmchat[local]'"
    assert make_launcher(context).engine_command == uv
    there.add("xllamacpp")
    assert make_launcher(context).engine_command == ""
