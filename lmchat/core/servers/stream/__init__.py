"""From the bytes of a response to events; a token costs the same in a short and a long answer."""
