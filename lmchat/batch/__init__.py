"""Many prompts for one or several models: lines and cases, answers as rows, checks and figures.

It is behind `batch`, `eval` and `compare`, and must not know the options of the command line.
"""
