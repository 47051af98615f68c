"""What fits into the context window: plans of requests, estimates of tokens, and summaries.

`answer_request` and the sessions use this package. So `context_window.py`, which uses sessions, is
not in it.
"""
