"""Tool host: a child process that runs MCP servers and the functions of `tools.py`."""
