"""What the events of an answer add up to: its text, and the figures of its turn."""
