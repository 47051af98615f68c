"""Saved sessions as a whole: their lists, changes and exports, and the import of chats."""
