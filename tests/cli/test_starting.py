from __future__ import annotations

from lmchat.extras import install_command


def test_the_command_that_installs_the_engine_is_that_of_this_python(monkeypatch):
    there = {"pip"}
    monkeypatch.setattr("sys.executable", "/opt/my env/bin/python")
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name: name in there or None,
    )
    monkeypatch.setattr(
        "lmchat.extras.requires",
        lambda _: ["rich", "b[c]>=6; extra == 'local'", "d; extra == 'local'", "e; extra == 'all'"],
    )
    command = "'/opt/my env/bin/python' -m pip install"
    assert install_command("local") == f"{command} 'b[c]>=6' d"
    there.clear()
    uv = "uv pip install --python '/opt/my env/bin/python'"
    assert install_command("local") == f"{uv} 'b[c]>=6' d"
    assert install_command("new") == f"{uv} 'lmchat[new]'"
