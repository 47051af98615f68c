from __future__ import annotations

import json

from tests.support.programs import PYTHON, run


def test_classes_that_are_made_quickly_are_those_that_textual_makes(tmp_path):
    done = run([PYTHON, "-m", "tests.support.classes_child"], home=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["has_app"]
    assert found["count"] > 100
    assert (found["different"], found["lacks"]) == ([], [])
