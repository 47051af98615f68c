"""The welcome screen, above the chat while no server with a model answers."""
