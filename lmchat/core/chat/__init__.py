"""Sessions in memory and their turns: from a prompt to its saved answer.

Front ends give commands to `ChatService` and its parts, and are shown `events`. What answers and
what runs tools is passed in: an `AnswerSource` and a `ToolHost`.
"""
