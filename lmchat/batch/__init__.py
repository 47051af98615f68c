"""Many prompts for one or several models: lines and cases, jobs, answers as rows.

It is behind `batch`, `eval` and `compare`, and must not know the options of the command line.
"""
