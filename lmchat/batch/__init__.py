"""Many prompts for one or several models: lines and cases, jobs, answers as rows.

Must not know the options of the command line.
"""
