from __future__ import annotations

from lmchat.servers.local.installed import install_command


def test_the_command_that_installs_the_engine_is_that_of_this_python(monkeypatch):
    there = {"pip"}
    monkeypatch.setattr("sys.executable", "/opt/my env/bin/python")
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(
        "lmchat.servers.local.installed.importlib.util.find_spec",
        lambda name: name in there or None,
    )
    assert install_command() == "'/opt/my env/bin/python' -m pip install 'lmchat[local]'"
    there.clear()
    uv = "uv pip install --python '/opt/my env/bin/python' 'lmchat[local]'"
    assert install_command() == uv
