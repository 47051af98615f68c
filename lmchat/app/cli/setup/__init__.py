"""Assembly of what commands work with: API keys, servers, store, tools, the screen's parts."""
