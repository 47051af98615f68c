"""Sessions in memory and their turns: from a prompt to its saved answer.

Front ends give commands to `ChatService` and to the sessions and other parts that it makes, and are
shown `events`. What answers and what runs tools is passed in: an `AnswerSource` and a `ToolHost`.
"""
