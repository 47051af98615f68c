from __future__ import annotations

import pytest

from lmchat.domain.product import Product
from lmchat.domain.server import Endpoint, LoadState, Verdict
from lmchat.services.server_rows import NO_SERVER, advice_of, headline_of
from tests.support.scripted_backend import candidate, model

BOX = Endpoint.parse("http://gpu-box:1337")


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (Verdict.NEEDS_KEY, "LM Studio answers, but needs an API key."),
        (Verdict.KEY_REJECTED, "LM Studio answers, but rejected the API key."),
        (Verdict.NO_MODEL, "LM Studio answers, but has no model yet."),
        (Verdict.SERVER_OFF, "LM Studio runs, but its server is off."),
    ],
)
def test_a_server_that_lacks_one_thing_is_told_with_the_step(verdict, words):
    found = [
        candidate(Verdict.REFUSED, product=Product.JAN),
        candidate(verdict, next_step="Do this"),
    ]
    assert headline_of(found) == words
    assert advice_of(found) == "Next: Do this (this page then continues)"


def test_a_blocked_host_is_named():
    blocked = candidate(Verdict.HOST_BLOCKED, endpoint=BOX, product=Product.JAN, is_own=True)
    assert headline_of([blocked]) == "Jan at gpu-box:1337 does not accept the host name gpu-box."


def test_a_named_server_that_is_away_is_told_in_its_own_words():
    away = candidate(
        Verdict.REFUSED, endpoint=BOX, is_own=True, detail="Nothing answers.", next_step="Go"
    )
    assert headline_of([away]) == "gpu-box:1337: Nothing answers."
    assert advice_of([away]) == "Next: Go (this page then continues)"


def test_a_certificate_that_is_not_believed_is_told_with_a_new_start_as_the_end_of_the_step():
    told = "The certificate of gpu-box:1337 has expired."
    distrusted = candidate(
        Verdict.SERVER_ERROR,
        endpoint=BOX,
        is_own=True,
        detail=told,
        next_step="Go.",
        kind="certificate",
    )
    assert headline_of([distrusted]) == told
    assert advice_of([distrusted]) == "Next: Go. Then start lmchat again."


def test_a_step_of_whole_sentences_is_followed_by_one():
    withheld = candidate(Verdict.NEEDS_KEY, next_step="The key was not sent: it is for another.")
    expected = "Next: The key was not sent: it is for another. This page then continues."
    assert advice_of([withheld]) == expected


def test_another_server_that_answers_is_told_where_the_named_one_is_away():
    away = candidate(
        Verdict.REFUSED, endpoint=BOX, is_own=True, detail="Nothing answers.", next_step="Go"
    )
    other = candidate(Verdict.NO_MODEL, model(state=LoadState.NOT_LOADED))
    assert headline_of([away, other]) == "The server you named does not answer. LM Studio does."
    assert advice_of([away, other]) == ""


def test_a_named_server_that_answers_is_not_said_to_be_away():
    named = candidate(Verdict.READY, model(), endpoint=BOX, is_own=True)
    assert headline_of([candidate(Verdict.READY, model()), named]) == "LM Studio answers."
    assert headline_of([named]) == "LM Studio answers."


def test_the_address_of_the_built_in_server_is_not_one_that_the_user_has_named():
    engine = candidate(Verdict.REFUSED, product=Product.BUILT_IN, is_own=True, detail="Away.")
    assert headline_of([engine]) == NO_SERVER
    assert headline_of([engine, candidate(Verdict.READY, model())]) == "LM Studio answers."
    engine = candidate(Verdict.NO_MODEL, product=Product.BUILT_IN, is_own=True, next_step="Do this")
    assert headline_of([engine]) == "built-in answers, but has no model yet."


def test_where_nothing_is_near_to_a_chat_the_page_says_so():
    assert (headline_of([]), advice_of([])) == (NO_SERVER, "")
    assert headline_of([candidate(Verdict.REFUSED), candidate(Verdict.NOT_AN_LLM)]) == NO_SERVER


def test_a_server_that_waits_for_a_choice_is_not_held_against_a_name_that_nobody_gave():
    assert (
        headline_of([candidate(Verdict.NO_MODEL, model(state=LoadState.NOT_LOADED))])
        == "LM Studio answers."
    )
