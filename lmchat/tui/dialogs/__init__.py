"""Everything that opens above the chat. A dialog is given data and returns a value.

Before that, `ThemeDialog` and `ToolsDialog` act themselves, and others by functions they are given.
"""
