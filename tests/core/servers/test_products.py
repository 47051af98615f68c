from __future__ import annotations

from lmchat.core.servers.products import PRODUCTS
from lmchat.core.servers.products.native import params_text


def test_no_two_products_share_a_name():
    assert len({product.name for product in PRODUCTS}) == len(PRODUCTS)


def test_each_product_says_what_helps():
    for server in PRODUCTS:
        hints = [server.step(name) for name in ("start", "key", "model", "host")]
        assert all(hints)
        assert not any(hint.endswith(".") for hint in hints), "they stand in a table too"


def test_numbers_of_parameters_are_written_as_people_do():
    for count, text in (
        (134_515_008, "135M"),
        (8_030_261_248, "8B"),
        (1_720_000_000, "1.7B"),
        (999_000_000, "1B"),
        (12, ""),
        ("8B", ""),
        (float("inf"), ""),
        (True, ""),
    ):
        assert params_text(count) == text
