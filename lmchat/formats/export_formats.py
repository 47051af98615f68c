"""Table of the export formats. The command line reads it at its start, so it imports nothing."""

from __future__ import annotations

# Module and function of each format, by its file extension, which `--format` names. The function
# gets a session and `WriteOptions`, and returns a text.
EXPORT_FORMATS = {
    "md": "markdown_export:to_markdown",
    "json": "json_sessions:to_json",
    "html": "html_export:to_html",
    "txt": "text_export:to_text",
}
