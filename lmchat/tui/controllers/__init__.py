"""The controllers of the chat screen. Each of them does what is asked for about one subject.

A few own a part of the screen's state: docs/architecture.md lists them. A controller is given those
that were made before it. What a later one does, it asks for by a message to the chat screen, such
as `ShowServers`, or it is given a function of `Dispatcher`.

- The chat: `turn_view` (prompts, events, cards of tool calls), `prompt_text` (draft and edit),
  `prompt_files`, `answer_settings` (/set, /effort, /profile and others).
- The log: `message_actions`, `branches` (versions, forks, deletions).
- Sessions: `session_view`, `saved_sessions` (what the list shows, its keys, the search),
  `export_import` (export, import).
- Servers: `server_search` (search, welcome page), `model_switch`, `server_starts`.
- The screen: `status` (figures), `hints` (row of keys), `appearance` (theme, panels), `palette`
  (and the help), `reports` (/context, /request, /stats, /doctor and others).
"""
