"""HTTP surface of `lmchat serve`: one address for all model servers, in the shape of OpenAI's API.

`app.ServeApp` checks who asks, and passes requests on through the `ServerClient`.
"""
