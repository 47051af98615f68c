"""Text of an answer, and the figures of its turn, from the events of its stream."""
