from __future__ import annotations

from lmchat.servers.products.base import params_text
from lmchat.servers.products.registry import SERVERS
from tests.support.scripted_products import PRODUCT_NAMES


def test_each_product_has_its_class_and_no_two_share_a_port():
    assert {server.product for server in SERVERS} == set(PRODUCT_NAMES)
    ports = [port for server in SERVERS for port in server.ports]
    assert len(ports) == len(set(ports))


def test_each_product_says_what_helps():
    for server in SERVERS:
        hints = (
            server.start_hint,
            server.key_hint,
            server.model_hint,
            server.host_hint,
            server.port_hint,
        )
        assert all(hints)
        assert not any(hint.endswith(".") for hint in hints), "they stand in a table too"
        assert server.start_sentence().endswith(".")
        assert "server: Start the server" not in server.start_sentence()


def test_numbers_of_parameters_are_written_as_people_do():
    for count, text in (
        (134_515_008, "135M"),
        (8_030_261_248, "8B"),
        (1_720_000_000, "1.7B"),
        (30_532_122_624, "31B"),
        (999_000_000, "1B"),
        (0, ""),
        (12, ""),
        (None, ""),
        ("8B", ""),
        (float("inf"), ""),
        (True, ""),
    ):
        assert params_text(count) == text
