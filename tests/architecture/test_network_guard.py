from __future__ import annotations

import socket

import pytest

from lmchat.core.servers.products import PRODUCTS
from tests.support.network_guard import take_report
from tests.support.programs import PYTHON, ROOT, run

_ELSEWHERE = ("192.0.2.1", 9)  # an address that is kept free for documentation
_CONNECT = f"import socket; socket.create_connection({_ELSEWHERE!r}, timeout=0.1)"


def test_a_connection_to_another_machine_is_refused_and_reported():
    with socket.socket() as connection, pytest.raises(PermissionError, match="this machine only"):
        connection.connect(_ELSEWHERE)
    assert "192.0.2.1 port 9" in take_report()[0]


def test_a_name_that_would_have_to_be_looked_up_is_refused():
    with pytest.raises(PermissionError):
        socket.getaddrinfo("localhost.example.com", 80)
    assert "localhost.example.com" in take_report()[0]


def test_this_machine_may_be_reached_and_what_only_looks_like_it_may_not():
    import sitecustomize  # noqa: PLC0415 - the guard

    for host in ("127.0.0.1", "127.8.9.1", "localhost", "::1", "::ffff:127.0.0.1"):
        assert sitecustomize._is_here(host)
    for host in ("localhost.evil.com", "127.0.0.1.nip.io", "10.0.0.1", "::ffff:8.8.8.8", "fe80::1"):
        assert not sitecustomize._is_here(host)


def test_a_server_of_the_person_at_a_usual_port_answers_no_test():
    import sitecustomize  # noqa: PLC0415 - the guard

    usual = {port for product in PRODUCTS for port in product.place.ports}
    assert usual == sitecustomize.USUAL_PORTS
    for port in usual:
        with socket.socket() as connection, pytest.raises(ConnectionRefusedError):
            connection.connect(("127.0.0.1", port))
    assert take_report() == []


def test_only_package_installers_are_exempt():
    import sitecustomize  # noqa: PLC0415 - the guard

    for argv in (
        ["python", "-m", "pip", "install", "x"],
        ["python", "/venv/bin/pip", "install", "x"],
        ["/venv/bin/python", "/venv/lib/pip/__pip-runner__.py", "install"],
    ):
        assert sitecustomize._is_installer(argv)
    for argv in (["python", "-m", "lmchat", "pip"], ["python", "-c", "pip"]):
        assert not sitecustomize._is_installer(argv)


def test_a_run_in_which_a_child_connects_elsewhere_fails(tmp_path):
    test = tmp_path / "test_leak.py"
    test.write_text(
        "import subprocess, sys\n"
        "def test_leak():\n"
        f"    subprocess.run([sys.executable, '-c', {_CONNECT!r}], stderr=subprocess.DEVNULL)\n",
        encoding="utf-8",
    )
    plugin = ("-p", "tests.support.network_guard", "-p", "no:cacheprovider")
    done = run(
        [PYTHON, "-m", "pytest", "-q", *plugin, "--rootdir", tmp_path, test],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    assert done.returncode == 1
    assert "left this machine" in done.stdout
    assert "192.0.2.1" in done.stdout
