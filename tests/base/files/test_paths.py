from __future__ import annotations

import os

import pytest

from lmchat.base.files.paths import Paths


@pytest.mark.windows
def test_logs_stay_on_this_machine_where_settings_follow_the_user():
    paths = Paths.find({})
    assert paths.config_file.is_relative_to(os.environ["APPDATA"])
    assert paths.log_file.is_relative_to(os.environ["LOCALAPPDATA"])
