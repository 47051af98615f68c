"""HTTP surface of `lmchat serve`: one address for all model servers, in the shape of OpenAI's API.

A request passes `RequestLog`, then `AccessCheck`, then its route. `ForwardRoute` passes it on
through the `ServerClient`; `source_routes` answers what older programs of this kind ask.
"""
