"""Everything that opens above the chat. A dialog is given data and returns a value."""
