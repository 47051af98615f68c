from __future__ import annotations

from msgspec.structs import replace

from lmchat.errors import ServerRejected, StreamInterrupted
from lmchat.servers.events import ReasoningDelta, StreamFinished, TextDelta
from lmchat.servers.request import Sampling
from lmchat.services.continuation import CONTINUE
from lmchat.services.conversation import Conversation
from lmchat.sessions.message import AnswerState, Role
from tests.support.conversations import begin, settings_for
from tests.support.scripted_backend import ScriptedBackend, read

END = StreamFinished(reason="stop")
CUT = StreamInterrupted("The connection broke.")
REFUSED = ServerRejected(
    "Assistant response prefill is incompatible with enable_thinking.", kind="bad_request"
)


async def gone_on(store, product: str, *scripts) -> tuple[Conversation, ScriptedBackend]:
    """Return a session whose first answer broke off and was gone on with."""
    backend = ScriptedBackend(*scripts)
    conversation = begin(backend, store)
    await read(conversation.send("x", settings_for(product)))
    await read(conversation.resume(conversation.messages[-1].message_id, settings_for(product)))
    return conversation, backend


async def last_on_disk(store, conversation):
    return (await store.open_session(conversation.header.session_id)).messages[-1]


async def test_a_server_with_prefill_gets_the_answer_with_its_thought(store):
    begun = [ReasoningDelta(text="They ask."), TextDelta(text="Several vegeta"), CUT]
    conversation, backend = await gone_on(store, "llama.cpp", begun, [TextDelta(text="bles."), END])
    last = backend.requests[1].messages[-1]
    assert (last.role, last.text, last.reasoning) == (Role.ASSISTANT, "Several vegeta", "They ask.")
    answer = await last_on_disk(store, conversation)
    assert (answer.text, answer.reasoning) == ("Several vegetables.", "They ask.")
    assert (answer.state, answer.version, answer.versions) == (AnswerState.COMPLETE, 2, 2)


async def test_a_server_that_refuses_prefill_gets_a_prompt_to_continue_once(store):
    begun = [TextDelta(text="Several vegeta"), CUT]
    conversation, backend = await gone_on(
        store, "llama.cpp", begun, [REFUSED], [TextDelta(text="bles."), END]
    )
    assert backend.requests[2].messages[-1].text == f"{CONTINUE}\n\nSeveral vegeta"
    assert backend.requests[2].messages[-2].text == "Several vegeta"
    assert (await last_on_disk(store, conversation)).text == "Several vegetables."
    conversation, backend = await gone_on(store, "llama.cpp", begun, [REFUSED], [REFUSED])
    assert len(backend.requests) == 3
    answer = await last_on_disk(store, conversation)
    assert (answer.text, answer.state) == ("Several vegeta", AnswerState.INTERRUPTED)
    assert answer.failure.kind == "bad_request"


async def test_a_thought_that_cannot_be_continued_is_kept_before_the_next_one(store):
    begun = [ReasoningDelta(text="They as"), CUT]
    rest = [ReasoningDelta(text="So they ask."), TextDelta(text="Several."), END]
    conversation, backend = await gone_on(store, "llama.cpp", begun, [REFUSED], rest)
    assert [one.text for one in backend.requests[2].messages] == ["x"]
    answer = await last_on_disk(store, conversation)
    assert (answer.reasoning, answer.text) == ("They as\n\nSo they ask.", "Several.")


async def test_a_seed_is_drawn_where_the_server_takes_one_unless_it_is_set(store):
    for product, options, is_drawn in (
        ("llama.cpp", {}, True),
        ("LM Studio", {}, True),
        ("Ollama", {}, True),
        ("Mistral", {}, True),
        ("Anthropic", {}, False),
        ("Gemini", {}, False),
        ("OpenAI-compatible", {}, False),
        ("LiteLLM", {}, False),  # a model behind it may refuse it
        ("llama.cpp", {"seed": 0}, False),
        ("llama.cpp", {"extra.seed": 5}, False),
    ):
        backend = ScriptedBackend()
        sampling = Sampling().with_options(options)
        await read(
            begin(backend, store).send("x", replace(settings_for(product), sampling=sampling))
        )
        (request,) = backend.requests
        assert request.has_drawn_seed is is_drawn
        assert request.sampling.seed == options.get("seed") or is_drawn
        assert not is_drawn or 0 <= request.sampling.seed <= 4_294_967_294
