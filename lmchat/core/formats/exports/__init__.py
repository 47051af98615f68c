"""Export of a session as text: a module for each format, and their table.

The command line reads the table at its start, so this module imports nothing.
"""

from __future__ import annotations

# By file extension, which `--format` names: module (below `formats`) and function, which gets a
# session and `WriteOptions`.
EXPORT_FORMATS = {
    "md": "exports.markdown:to_markdown",
    "json": "json_sessions:to_json",
    "html": "exports.html:to_html",
    "txt": "exports.text:to_text",
}
