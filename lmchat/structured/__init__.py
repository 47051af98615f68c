"""Values taken out of an answer: JSON that fits a schema, or the code in it."""
