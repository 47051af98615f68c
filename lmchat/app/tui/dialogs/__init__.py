"""Everything that opens above the chat. A dialog is given data and returns a value.

While they are open, `ThemeDialog` and `ToolsDialog` act themselves, and some others call functions
that they were given.
"""
