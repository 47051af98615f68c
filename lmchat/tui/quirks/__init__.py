"""Fixes of faults in Textual and rich; no other package uses their private names."""
