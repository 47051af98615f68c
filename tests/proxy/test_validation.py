from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.domain.message import Role, text_message
from lmchat.domain.product import Product
from lmchat.domain.request import ChatRequest, Sampling
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
        ({"sampling": Sampling(temperature=2.5)}, "temperature must be between 0 and 2"),
        ({"sampling": Sampling(temperature=float("nan"))}, "temperature must be"),
        ({"sampling": Sampling(top_p=-1)}, "top_p must be between 0 and 1"),
        ({"sampling": Sampling(temperature="hot")}, "temperature must be"),
        ({"sampling": Sampling(max_tokens=0)}, "max_tokens must be at least 1"),
        ({"sampling": Sampling(max_tokens="9")}, "max_tokens must be a whole number."),
        ({"sampling": Sampling(max_tokens=True)}, "max_tokens must be a whole number."),
        ({"sampling": Sampling(seed=1.5)}, "seed must be a whole number."),
        ({"sampling": Sampling(seed=10**30)}, "seed must be a whole number."),
        ({"sampling": Sampling(keep_loaded_s=-4)}, "keep_loaded_s must be at least 1"),
    ],
)
def test_each_wrong_part_is_named_in_the_fixed_words(changes, words):
    with pytest.raises(RequestInvalid) as caught:
        check_request(replace(GOOD, **changes))
    assert caught.value.message.startswith(words)


def test_a_good_request_passes():
    check_request(replace(GOOD, sampling=Sampling(temperature=0, top_p=1, max_tokens=1)))
    check_request(replace(GOOD, sampling=Sampling(stop=["END"], seed=-1, keep_loaded_s=60)))


def test_a_body_that_is_too_large_names_its_size_and_the_largest_message():
    messages = (text_message(Role.USER, "a"), text_message(Role.USER, "é" * 1_000_000))
    check_size(b"x" * 2_000_000, messages, 2)
    with pytest.raises(
        BodyTooLarge, match=r"2\.0 MB; the limit is 2 MB\. Message 2 \(user\) alone is 2\.0 MB"
    ):
        check_size(b"x" * 2_000_001, messages, 2)
