"""Answers: their text and stats, from the events of the stream; JSON wanted in them."""
