"""Programs that are installed, and those that listen."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from lmchat.domain.server import Product
from lmchat.machine.programs import installed_products, port_holders
from tests.support.start_desk import listener


def program(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


def found(home: Path, **environ: str) -> dict[Product, object]:
    environ = {"PATH": str(home / "nowhere"), **environ}
    return {one.product: one for one in installed_products(environ, home, home / ".lmstudio")}


@pytest.mark.parametrize(
    ("name", "product"),
    [
        ("lms", Product.LM_STUDIO),
        ("jan", Product.JAN),
        ("llama-server", Product.LLAMA_CPP),
        ("ollama", Product.OLLAMA),
        ("vllm", Product.VLLM),
        ("litellm", Product.LITELLM),
    ],
)
def test_a_program_on_the_path_is_found(tmp_path, name, product):
    file = program(tmp_path / "bin", name)
    one = found(tmp_path, PATH=str(tmp_path / "bin"))[product]
    assert one.program == str(file)
    assert one.start_words
    assert not one.start or one.start[0] == str(file)


def test_lm_studios_program_is_found_in_its_own_folder_too(tmp_path):
    file = program(tmp_path / ".lmstudio" / "bin", "lms")
    one = found(tmp_path)[Product.LM_STUDIO]
    assert one.start == (str(file), "server", "start")
    assert one.folder == str(tmp_path / ".lmstudio")


def test_a_folder_alone_says_how_the_application_is_started(tmp_path):
    (tmp_path / ".lmstudio").mkdir()
    (tmp_path / ".local/share/Jan/data").mkdir(parents=True)
    here = found(tmp_path)
    assert (here[Product.LM_STUDIO].program, here[Product.LM_STUDIO].start) == ("", ())
    assert "Developer" in here[Product.LM_STUDIO].start_words
    assert "Local API Server" in here[Product.JAN].start_words


def test_a_file_that_cannot_be_run_is_no_program(tmp_path):
    program(tmp_path / "bin", "ollama").chmod(0o644)
    assert (
        Product.OLLAMA not in found(tmp_path, PATH=str(tmp_path / "bin"))
        or not found(tmp_path)[Product.OLLAMA].program
    )


def test_where_nothing_is_nothing_is_found(tmp_path):
    system_wide = {Product.OLLAMA, Product.LM_STUDIO, Product.JAN}
    assert set(found(tmp_path)) <= system_wide
    assert {one.product for one in installed_products({}, None, None)} <= system_wide


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0"])  # noqa: S104 - bound to on purpose
def test_a_listening_socket_is_told_with_its_process(host):
    with listener(host) as server:
        port = server.getsockname()[1]
        holder = port_holders({port})[port]
    assert holder.pid == os.getpid()
    assert holder.program
    assert str(os.getpid()) in holder.words


def test_who_has_left_and_who_is_only_connected_is_no_holder():
    with listener() as server, socket.create_connection(server.getsockname()) as client:
        port = server.getsockname()[1]
        assert port_holders({client.getsockname()[1]}) == {}
    assert port_holders({port}) == {}


def test_what_an_interpreter_runs_is_told_and_its_arguments_are_not(tmp_path):
    script = tmp_path / "model server.py"
    script.write_text(
        "import socket, sys\n"
        "s = socket.create_server(('127.0.0.1', 0))\n"
        "print(s.getsockname()[1], flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(  # noqa: S603 - our own arguments
        [sys.executable, str(script), "--api-key", "sk-secret"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        port = int(process.stdout.readline())
        holder = port_holders({port})[port]
        process.stdin.close()
    assert holder.pid == process.pid
    assert "model server.py" in holder.program
    assert "secret" not in repr(holder)


class Connection:
    status = psutil.CONN_LISTEN

    def __init__(self, port, pid=None, address="127.0.0.1"):
        self.laddr, self.pid = (address, port), pid


def test_a_process_that_may_not_be_seen_is_told_by_its_user(monkeypatch):
    with listener() as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(psutil, "net_connections", lambda _: [Connection(port)])
        holder = port_holders({port})[port]
    assert (holder.pid, holder.program) == (None, "")
    assert f"user {getpass.getuser()}" in holder.words


def test_of_all_listeners_of_a_port_the_process_that_is_seen_is_told(monkeypatch):
    rows = [Connection(1337), Connection(1337, os.getpid(), "::1"), Connection(1337)]
    monkeypatch.setattr(psutil, "net_connections", lambda _: rows)
    holder = port_holders({1337, 1234})[1337]
    assert holder.pid == os.getpid()


def test_where_only_root_sees_all_processes_those_of_the_user_are_looked_at(monkeypatch):
    def denied(_):
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", denied)
    with listener() as server:
        port = server.getsockname()[1]
        assert port_holders({port})[port].pid == os.getpid()


@pytest.mark.parametrize("error", [OSError, RuntimeError, psutil.Error])
def test_a_table_of_the_kernel_that_cannot_be_read_costs_the_answer_alone(monkeypatch, error):
    def breaks(_):
        raise error

    monkeypatch.setattr(psutil, "net_connections", breaks)
    assert port_holders({1234}) == {}
