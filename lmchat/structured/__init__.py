"""What is taken out of an answer: one JSON value that fits a schema, or the code in it."""
