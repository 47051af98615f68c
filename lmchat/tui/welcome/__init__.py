"""The welcome page: a screen above the chat while no server with a model answers."""
