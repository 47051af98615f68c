from __future__ import annotations

import pytest

from lmchat.foreign_library import foreign_library


@pytest.mark.parametrize(("name", "is_reason"), [("only_there", False), ("msgspec", True)])
def test_a_library_is_a_reason_only_if_it_took_the_place_of_another(
    name, is_reason, tmp_path, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # as wrappers of Nix set it
    code = compile("1 / 0", str(tmp_path / f"{name}.py"), "exec")
    with pytest.raises(ZeroDivisionError) as caught:
        exec(code, {"__name__": name})  # noqa: S102 - as an import does
    assert (foreign_library(caught.value) is not None) == is_reason
