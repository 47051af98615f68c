"""A cell of a notebook: the same prompt at three temperatures."""

from lmchat.api import SyncHome

with SyncHome() as home:
    model = home.model()
    print(model.model_id, f"loaded in {home.load(model) or 0:.1f} s")
    for temperature in (0.0, 0.7, 1.4):
        options = home.options(model, temperature=temperature, max_tokens=20)
        answer = home.client.chat("Name one vegetable.", model=model, **options)
        speed = answer.stats.tokens_per_second or 0
        print(f"{temperature}: {answer.text!r}, {speed:.0f} tokens/s")
