"""Places that are looked at because of what the user did in this run."""

from __future__ import annotations

import pytest

from lmchat.domain.server import Endpoint
from lmchat.services.candidates import Catalogue
from tests.support.scripted_backend import ENDPOINT, ScriptedBackend

OWN, TYPED = Endpoint.parse("http://gpu-box:8000"), Endpoint.parse("http://127.0.0.1:8081")


class Backend(ScriptedBackend):
    expected = ()

    async def detect(self, *, expected=()):
        self.expected = tuple(expected)
        return await super().detect(expected=expected)


@pytest.fixture
def backend():
    return Backend()


@pytest.fixture
def catalogue(backend):
    return Catalogue(backend, None, expected=[OWN])


async def test_a_place_is_looked_at_until_it_is_forgotten(catalogue, backend):
    catalogue.expect(TYPED)
    catalogue.expect(TYPED)
    await catalogue.look_around()
    assert backend.expected == (TYPED, OWN)
    catalogue.forget(TYPED)
    await catalogue.look_around()
    assert backend.expected == (OWN,)


async def test_a_place_of_the_configuration_is_never_forgotten(catalogue, backend):
    catalogue.expect(OWN)
    catalogue.forget(OWN)
    await catalogue.look_around()
    assert backend.expected == (OWN,)


async def test_a_place_that_is_looked_at_anyway_stays_what_it_is(catalogue, backend):
    await catalogue.look_around()
    catalogue.expect(ENDPOINT)
    await catalogue.look_around()
    assert backend.expected == (OWN,)
