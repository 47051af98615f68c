"""Sessions in memory and their turns: from a prompt to its saved answer.

Front ends give commands to `service` and to the parts that it makes, such as `prompt_queue`, and
are shown `events`. What answers and what runs tools is passed in: an `AnswerSource` and a
`ToolHost`.
"""
