"""Many prompts for one or several models: lines and cases, jobs, answers as records."""
