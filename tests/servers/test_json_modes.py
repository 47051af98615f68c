from __future__ import annotations

from msgspec.structs import replace

from lmchat.servers.events import RequestAdapted
from lmchat.servers.request import AnyObject, AnyText, FittingValue
from lmchat.sessions.message import Role, text_message
from tests.support.client_calls import answered, ask, events_of
from tests.support.scripted_products import CHAT, PRODUCT_NAMES, chat_reply
from tests.support.scripted_server import error_reply, json_reply, sse

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


def refusal_reply(message, *, status=400, **more):
    return error_reply(status, message, type="invalid_request_error", **more)


UNKNOWN_FIELD = json_reply(
    {
        "detail": [
            {
                "loc": ["body", "response_format"],
                "msg": "Extra inputs are not permitted",
                "type": "x",
            }
        ]
    },
    status=422,
)
NO_SCHEMAS = refusal_reply(
    "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
    param="response_format",
)
NOT_NOW = refusal_reply(
    'Either "json_schema" or "grammar" can be specified, but not both', code=400
)


async def test_each_product_is_asked_in_the_strictest_form_that_it_takes(make_client, server):
    server.on(CHAT, chat_reply("{}"))
    for product in PRODUCT_NAMES:
        is_in_words, client = product == "Anthropic", make_client()
        server.requests.clear()
        for output in (PERSON, AnyObject(), AnyText()):
            await events_of(client, request_for(server, output, product=product))
        schema, some, text = response_formats(server)
        assert schema == (IN_WORDS if is_in_words else BY_SCHEMA)
        some_form = SOME_OBJECT if product == "LM Studio" else BY_OBJECT
        assert some == (IN_WORDS if is_in_words else some_form)
        assert text is None
        assert "response_format" not in server.seen(CHAT)[-1].json


async def test_what_the_field_does_not_say_stands_in_the_system_prompt(make_client, server):
    server.on(CHAT, chat_reply("{}"))
    for output, product, said in (
        (PERSON, "OpenAI", ""),
        (PERSON, "Anthropic", "Answer with one JSON value that matches this JSON schema"),
        (AnyObject(), "OpenAI", "Answer with one JSON object"),
        (AnyObject(), "LM Studio", "Answer with one JSON object"),
        (AnyText(), "Anthropic", ""),
    ):
        client = make_client()
        server.requests.clear()
        own = request_for(server, output, product=product)
        await events_of(client, own)
        system = text_message(Role.SYSTEM, "Be brief.")
        await events_of(client, replace(own, messages=(system, *own.messages)))
        alone, behind = server.seen(CHAT)
        assert words(alone).startswith(said)
        assert bool(words(alone)) is bool(said)
        assert words(behind) == ("Be brief." + (f"\n\n{words(alone)}" if said else ""))
        assert [one["role"] for one in behind.json["messages"]] == ["system", "user"]


async def test_a_server_without_schemas_gets_an_object_and_the_schema_in_words_and_is_remembered(
    client, server
):
    server.on(CHAT, NO_SCHEMAS, chat_reply("{}"))
    events = await answered(client, request_for(server, PERSON))
    assert response_formats(server) == [BY_SCHEMA, BY_OBJECT]
    assert '"age"' in words(server.seen(CHAT)[1])
    assert words(server.seen(CHAT)[0]) == ""
    (note,) = notes(events)
    assert note == (
        "The server says: Invalid parameter: 'response_format' of type 'json_schema' is not supported with "
        "this model. lmchat now asks for JSON as a JSON object, the schema in words."
    )
    again, _ = await events_of(client, request_for(server, PERSON))
    assert response_formats(server)[2:] == [BY_OBJECT]
    assert notes(again) == []
    await events_of(client, request_for(server, PERSON, model="other"))
    assert response_formats(server)[3:] == [BY_SCHEMA]


async def test_a_server_that_knows_neither_the_field_nor_its_forms_is_asked_in_words(
    make_client, server
):
    not_text = {"loc": ["body", "response_format", "type"], "msg": "Input should be 'text'"}
    for refusal in (
        UNKNOWN_FIELD,
        refusal_reply("Unrecognized request argument: response_format"),
        refusal_reply('response_format type must be one of "text" or "json_object"', code=400),
        NOT_NOW,
        json_reply({"detail": [not_text]}, status=422),
    ):
        client = make_client()
        server.requests.clear()
        server.on(CHAT, refusal, refusal, chat_reply("{}"))
        events = await answered(client, request_for(server, PERSON))
        assert response_formats(server) == [BY_SCHEMA, BY_OBJECT, IN_WORDS]
        assert '"age"' in words(server.seen(CHAT)[2])
        assert notes(events)[1].endswith("lmchat now asks for JSON in words.")
        await events_of(client, request_for(server, AnyObject()))
        assert response_formats(server)[3:] == [IN_WORDS]


async def test_another_refusal_is_no_reason_to_ask_in_another_form(client, server):
    long = refusal_reply("Too long, also for json_schema", code="context_length_exceeded")
    behind_a_token = sse("{", {"error": {"message": "failed to parse grammar"}})
    for refusal, kind, output, forms in (
        (long, "context_overflow", PERSON, {"json_schema"}),
        (refusal_reply("temperature is too high"), "bad_request", PERSON, {"json_schema"}),
        (refusal_reply("No key for response_format", status=401), "auth", PERSON, {"json_schema"}),
        (NO_SCHEMAS, "bad_request", AnyText(), {None}),
        (behind_a_token, "server_error", PERSON, {"json_schema"}),
    ):
        server.requests.clear()
        server.on(CHAT, refusal)
        events, error = await events_of(client, request_for(server, output))
        assert (error.kind, notes(events)) == (kind, [])
        assert {form and form["type"] for form in response_formats(server)} == forms
    server.requests.clear()
    server.on(CHAT, UNKNOWN_FIELD)
    events, error = await events_of(client, request_for(server, PERSON))
    assert (error.kind, len(notes(events))) == ("bad_request", 2)
    assert response_formats(server) == [BY_SCHEMA, BY_OBJECT, IN_WORDS], "it ends in its own words"
