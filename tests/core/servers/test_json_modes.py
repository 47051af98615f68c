from __future__ import annotations

from msgspec.structs import replace

from lmchat.core.servers.events import RequestAdapted
from lmchat.core.servers.request import AnyObject, AnyText, FittingValue
from lmchat.core.sessions.message import Role, text_message
from tests.support.client_calls import answered, ask, events_of
from tests.support.scripted_products import CHAT, PRODUCT_NAMES, chat_reply
from tests.support.scripted_server import error_reply, json_reply

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}}
PERSON = FittingValue(schema=SCHEMA, name="person")
BY_SCHEMA = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
BY_OBJECT = {"type": "json_object"}
SOME_OBJECT = {
    "type": "json_schema",
    "json_schema": {"name": "object", "schema": {"type": "object"}},
}
IN_WORDS = None


def request_for(server, output, *, product="OpenAI-compatible", **more):
    return replace(ask(server, product=product, **more), output=output)


def response_formats(server):
    return [one.json.get("response_format") for one in server.seen(CHAT)]


def notes(events):
    return [event.note for event in events if isinstance(event, RequestAdapted)]


def words(seen) -> str:
    """What the system prompt of a request says."""
    return "".join(one["content"] for one in seen.json["messages"] if one["role"] == "system")


def refusal_reply(message, **more):
    return error_reply(400, message, type="invalid_request_error", **more)


UNKNOWN_FIELD = json_reply(
    {"detail": [{"loc": ["body", "response_format"], "msg": "Extra inputs are not permitted"}]},
    status=422,
)


async def test_each_product_is_asked_in_the_strictest_form_that_it_takes(make_client, server):
    server.on(CHAT, chat_reply("{}"))
    for product in PRODUCT_NAMES:
        client = make_client()  # a minute has room for fewer requests than all need
        for output in (PERSON, AnyObject(), AnyText()):
            await events_of(client, request_for(server, output, product=product, model=product))
        some_form = SOME_OBJECT if product == "LM Studio" else BY_OBJECT
        asked = (
            [IN_WORDS] * 3 if product in ("Anthropic", "GPT4All") else [BY_SCHEMA, some_form, None]
        )
        assert response_formats(server)[-3:] == asked


async def test_what_the_field_does_not_say_stands_in_the_system_prompt(client, server):
    server.on(CHAT, chat_reply("{}"))
    for output, product, said in (
        (PERSON, "OpenAI", ""),
        (PERSON, "Anthropic", "Answer with one JSON value that matches this JSON schema"),
        (AnyObject(), "LM Studio", "Answer with one JSON object"),
        (AnyText(), "Anthropic", ""),
    ):
        own = request_for(server, output, product=product, model=product)
        system = text_message(Role.SYSTEM, "Be brief.")
        for request in (own, replace(own, messages=(system, *own.messages))):
            await events_of(client, request)
        alone, behind = map(words, server.seen(CHAT)[-2:])
        assert (alone.startswith(said), bool(alone)) == (True, bool(said))
        assert behind == "\n\n".join(filter(None, ("Be brief.", alone)))


async def test_a_server_that_knows_neither_the_field_nor_its_forms_is_asked_in_words(
    make_client, server
):
    for refusal in (
        UNKNOWN_FIELD,
        refusal_reply("Unrecognized request argument: response_format"),
    ):
        client = make_client()
        server.requests.clear()
        server.on(CHAT, refusal, refusal, chat_reply("{}"))
        events = await answered(client, request_for(server, PERSON))
        await events_of(client, request_for(server, AnyObject()))
        assert response_formats(server) == [BY_SCHEMA, BY_OBJECT, IN_WORDS, IN_WORDS]
        assert '"age"' in words(server.seen(CHAT)[2])
        ways = ("as a JSON object, the schema in words", "in words")
        for note, way in zip(notes(events), ways, strict=True):
            assert note.endswith(f" lmchat now asks for JSON {way}.")
    for refusal, count in ((UNKNOWN_FIELD, 3), (refusal_reply("temperature must be at most 2"), 1)):
        server.requests.clear()
        server.on(CHAT, refusal)
        _, error = await events_of(make_client(), request_for(server, PERSON))
        # it ends in its own words
        assert (error.kind, len(server.seen(CHAT))) == ("bad_request", count)
