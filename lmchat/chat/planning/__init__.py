"""The plan of a request, which is what fits into the context window; estimates, and summaries."""
