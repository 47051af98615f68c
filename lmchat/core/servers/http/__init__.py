"""One HTTP exchange: connections, keys, errors in words. Imports httpx; knows no product."""
