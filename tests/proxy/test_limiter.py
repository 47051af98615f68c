from __future__ import annotations

import pytest

from lmchat.domain.product import Product
from lmchat.errors import TooManyRequests
from lmchat.proxy import admission as module
from lmchat.proxy.admission import Limiter, Purpose


@pytest.mark.parametrize(
    ("product", "name"),
    [
        (Product.LM_STUDIO, "LMStudio"),
        (Product.OPENAI_COMPATIBLE, "LMStudio"),
        (Product.OLLAMA, "Ollama"),
        (Product.LLAMA_CPP, "llama.cpp"),
    ],
)
def test_what_is_over_the_budget_is_refused_with_the_exact_words_and_the_seconds(product, name):
    limiter = Limiter(3)
    for left in (2, 1, 0):
        limiter.take(Purpose.CHAT, product)
        assert (limiter.budget().left, limiter.budget().limit) == (left, 3)
    with pytest.raises(TooManyRequests) as caught:
        limiter.take(Purpose.CHAT, product)
    assert caught.value.message.startswith(
        f"Too many requests to {name}, please try again later: the limit is 3 a minute"
    )
    assert 1 <= caught.value.wait_s <= 60
    assert f"{caught.value.wait_s} s" in caught.value.message


def test_looking_and_chatting_do_not_starve_each_other(monkeypatch):
    monkeypatch.setattr(module, "PROBES_PER_MINUTE", 2)
    limiter = Limiter(1)
    limiter.take(Purpose.CHAT)
    limiter.take(Purpose.PROBE)
    limiter.take(Purpose.PROBE)
    with pytest.raises(TooManyRequests):
        limiter.take(Purpose.PROBE)
    with pytest.raises(TooManyRequests):
        limiter.take(Purpose.CHAT)
