from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.domain.message import Role, text_message
from lmchat.domain.product import Product
from lmchat.domain.request import ChatRequest
from lmchat.domain.server import Endpoint
from lmchat.errors import BodyTooLarge, RequestInvalid
from lmchat.proxy.admission import check_request, check_size

GOOD = ChatRequest(
    endpoint=Endpoint.parse("localhost:1"),
    product=Product.JAN,
    model="qwen3",
    messages=(text_message(Role.USER, "Hi"),),
)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": ""}, "No Jan model selected"),
        ({"model": "", "product": Product.LM_STUDIO}, "No LM Studio model selected"),
        ({"model": "", "product": Product.OPENAI_COMPATIBLE}, "No LM Studio model selected"),
        ({"model": None}, "Invalid model parameter"),
        ({"model": 7}, "Invalid model parameter"),
        ({"model": "  "}, "Invalid model parameter"),
        ({"model": "a\nb"}, "Invalid model parameter"),
        ({"model": "x" * 2000}, "Invalid model parameter"),
        ({"messages": ()}, "Invalid messages array"),
        ({"messages": None}, "Invalid messages array"),
        ({"messages": (text_message(Role.USER, ""),)}, "Invalid message content"),
    ],
)
def test_each_wrong_part_is_named_in_the_fixed_words(changes, words):
    with pytest.raises(RequestInvalid) as caught:
        check_request(replace(GOOD, **changes))
    assert caught.value.message.startswith(words)


def test_a_good_request_passes():
    check_request(GOOD)


def test_a_body_that_is_too_large_names_its_size_and_the_largest_message():
    messages = (text_message(Role.USER, "a"), text_message(Role.USER, "é" * 1_000_000))
    check_size(b"x" * 2_000_000, messages, 2)
    with pytest.raises(
        BodyTooLarge, match=r"2\.0 MB; the limit is 2 MB\. Message 2 \(user\) alone is 2\.0 MB"
    ):
        check_size(b"x" * 2_000_001, messages, 2)
