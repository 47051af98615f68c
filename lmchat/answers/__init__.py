"""Answers: their text and figures, from the events of the stream; JSON wanted in them."""
