from __future__ import annotations

import pytest

from tests.support.chat_log_app import LogApp, answer, drag, highlighted, load, question

TEXT = """## Ferns

A **fern** grows in the shade, as most ferns do, and a fe**rn** in a pot does, too.

- 漢字 and ferns
- `fern`

```python
fern = grow("fern")
```

| plant | place |
|---|---|
| fern | shade |
"""


def messages():
    return [question("Which fern?"), answer(TEXT, thought="No fern?"), question("Thanks")]


@pytest.mark.parametrize("theme", ["lmchat-dark", "lmchat-ansi"])
def test_hits_and_the_current_one(snap_compare, theme):
    async def find(pilot):
        log = pilot.app.log_view
        await load(pilot, *messages())
        log.finder.find("fern")
        for _ in range(6):
            log.finder.step(1)
        await highlighted(log)

    assert snap_compare(LogApp(theme=theme), run_before=find, terminal_size=(80, 28))


@pytest.mark.parametrize("theme", ["lmchat-dark", "lmchat-ansi"])
def test_a_selection(snap_compare, theme):
    async def select(pilot):
        log = pilot.app.log_view
        await load(pilot, *messages())
        await highlighted(log)
        await drag(pilot, log, (20, 6), (8, 19))

    assert snap_compare(LogApp(theme=theme), run_before=select, terminal_size=(80, 28))
