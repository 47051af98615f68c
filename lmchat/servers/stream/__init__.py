"""Bytes of a response → events, at a cost for each token that does not grow."""
