from __future__ import annotations

from pathlib import Path

from lmchat.app.leaves.doctor.checks import config_findings, tool_findings
from lmchat.app.leaves.doctor.finding import Grade
from lmchat.core.config.file import Problem
from lmchat.core.config.load import LoadedSettings
from lmchat.core.config.settings import Settings
from lmchat.core.tools.calls import ToolServer, ToolServerState


def test_a_tool_server_is_as_bad_as_its_state_and_one_that_still_starts_gets_more_time():
    servers = (
        ToolServer(name="good", state=ToolServerState.READY),
        ToolServer(
            name="partly", state=ToolServerState.READY, error="Two are equal.", next_step="S."
        ),
        ToolServer(
            name="bad", state=ToolServerState.FAILED, error="It has exited.", next_step="S."
        ),
        ToolServer(name="slow"),
    )
    rows = tool_findings(servers, waited_s=8)
    assert [row.grade for row in rows] == [Grade.OK, Grade.WARNING, Grade.FAULT, Grade.WARNING]
    assert rows[0].cause == "It is ready, 0 tools."
    assert rows[2].cause == "It has failed. It has exited."
    assert rows[3].cause == "No answer within 8 s."
    assert [row.next_step == "S" for row in rows] == [False, True, True, False]


def test_each_problem_of_the_configuration_is_a_row_and_a_missing_file_is_none():
    missing = LoadedSettings(settings=Settings(), file=Path("c.toml"))
    assert [row.grade for row in config_findings(missing, [])] == [Grade.OK]
    assert "does not exist" in config_findings(missing, [])[0].cause
    problems = [Problem(source="c.toml", reason=reason) for reason in ("is wrong", "is, too")]
    assert [row.grade for row in config_findings(missing, problems)] == [Grade.FAULT] * 2
    noted = LoadedSettings(settings=Settings(), file=Path("c.toml"), notes=tuple(problems))
    assert [row.grade for row in config_findings(noted, [])] == [Grade.WARNING] * 2
