"""Fixes of faults in Textual and rich, the only users of their private names."""
