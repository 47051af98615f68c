"""`lmchat serve`: one address for all model servers, in the shape of OpenAI's API."""
