"""Files as the documents of these programs show them, with the values of keys written out."""

from __future__ import annotations

import json

import pytest

from lmchat.config.settings import McpSettings
from lmchat.errors import FileRefused
from lmchat.formats.mcp_json import read_mcp_servers

SECRET = "s3cret"  # noqa: S105 - of a file that is made here
LM_STUDIO = {
    "mcpServers": {
        "hf-mcp-server": {
            "url": "https://huggingface.co/mcp",
            "headers": {"Authorization": f"Bearer {SECRET}"},
        }
    }
}
CLAUDE_DESKTOP = {
    "mcpServers": {
        "filesystem": {
            "command": "npx",
            "args": ["-y", "@modelcontextprotocol/server-filesystem", "/Users/me/Desktop"],
        },
        "brave": {"command": "npx", "args": ["-y", "brave"], "env": {"BRAVE_API_KEY": SECRET}},
    },
    "globalShortcut": "",
}
PROJECT = {
    "mcpServers": {
        "api": {
            "type": "http",
            "url": "https://api.example/mcp",
            "headers": {"X-Key": "${API_KEY}"},
        },
        "local": {"type": "stdio", "command": "./serve", "env": {"MODE": "${MODE}", "N": 3}},
    }
}
CLAUDE_CODE = {
    "numStartups": 3,
    "mcpServers": {},
    "projects": {
        "/garden": {"mcpServers": {"beds": {"type": "stdio", "command": "beds", "env": {}}}},
        "/other": {"mcpServers": {"no": {"command": "no"}}},
    },
}


def read(tmp_path, name, content, folder="/nowhere"):
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    found = read_mcp_servers(file, folder)
    assert SECRET not in str([*map(vars_of, found.servers), found.refused])
    return found


def vars_of(server):
    return [getattr(server, name) for name in McpSettings.__struct_fields__]


def test_servers_of_lm_studio_and_claude_become_settings_without_values_of_variables(tmp_path):
    [hub] = read(tmp_path, "mcp.json", LM_STUDIO).servers
    assert (hub.url, hub.headers_env) == (
        "https://huggingface.co/mcp",
        {"Authorization": "HF_MCP_SERVER_AUTHORIZATION"},
    )
    files, brave = read(tmp_path, "claude_desktop_config.json", CLAUDE_DESKTOP).servers
    assert (files.command, files.args[-1], files.cwd) == ("npx", "/Users/me/Desktop", "")
    assert brave.env == {"BRAVE_API_KEY": "${BRAVE_API_KEY}"}
    assert brave.variables == ("BRAVE_API_KEY",)
    api, local = read(tmp_path, "garden/.mcp.json", PROJECT).servers
    assert api.headers_env == {"X-Key": "API_KEY"}
    assert (local.cwd, local.env) == (str(tmp_path / "garden"), {"MODE": "${MODE}", "N": "${N}"})
    [beds] = read(tmp_path, ".claude.json", CLAUDE_CODE, "/garden").servers
    assert (beds.name, beds.command, beds.env) == ("beds", "beds", None)
    file = tmp_path / "windows.json"
    for encoding in ("utf-8-sig", "utf-16"):  # as Notepad and PowerShell write it
        file.write_text('{"mcpServers": {"beds": {"command": "übung"}}}', encoding=encoding)
        assert read_mcp_servers(file, tmp_path).servers[0].command == "übung"


def test_a_server_that_lmchat_cannot_use_is_refused_with_its_reason(tmp_path):
    path = "${HOME}/serve.py"
    bad = {
        "here": (
            {"command": "python", "args": [path]},
            f"lmchat does not know what to put into {path}.",
        ),
        "neither": ({}, "needs command or url, but not both."),
        "number": ({"command": "a", "args": [3]}, "args[0]: expected str, got int."),
        "text": ("uvx time", "expected object, got str."),
        "a/b": ({"command": "a"}, 'its name has a "/".'),
    }
    found = read(tmp_path, "mcp.json", {"mcpServers": {name: bad[name][0] for name in bad}})
    assert found.servers == ()
    assert found.refused == {name: reason for name, (_, reason) in bad.items()}
    only = read_mcp_servers(tmp_path / "mcp.json", tmp_path, "neither")
    assert only.refused.keys() == {"neither"}


@pytest.mark.parametrize(
    "content", ["", "[]", '{"a": 1}', '{"mcpServers": []}', "mcpServers: {}", "{// a\n}", "\ud800"]
)
def test_another_file_is_refused_as_a_whole(tmp_path, content):
    file = tmp_path / "mcp.json"
    file.write_bytes(content.encode(errors="surrogatepass"))
    with pytest.raises(FileRefused, match=r"is not a file of MCP servers|has no server below"):
        read_mcp_servers(file, tmp_path)
