from __future__ import annotations

from hypothesis import strategies as st

json_of_chats = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "role",
                    "content",
                    "messages",
                    "lmchat",
                    "session",
                    "tool_calls",
                    "text",
                    "type",
                    "x",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
"""Any JSON, often with the fields of chats."""
