"""Write the sessions of the last seven days into a folder: `python export_week.py FOLDER`."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lmchat.api import SyncHome

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
week_ago = datetime.now(UTC) - timedelta(days=7)
with SyncHome() as home:
    for header in home.sessions.list():
        if header.updated_at >= week_ago:
            name = f"{header.updated_at:%Y-%m-%d}-{header.session_id[:8]}.md"
            text = home.sessions.export(header.session_id)
            (folder / name).write_text(text, encoding="utf-8")
            print(name, header.title)
