"""JSON values and code taken out of answers, and Python functions as tools."""
