"""Find the model servers of this machine: `python find_servers.py [ADDRESS]`."""

from __future__ import annotations

import asyncio
import sys

from lmchat.api import Client, LMChatError


async def main(address: str = "") -> None:
    """Print the servers that answer, then the models of the best one, or of the named one."""
    async with Client(address) as client:
        for found in await client.detect():
            if found.is_model_server:
                print(f"{found.endpoint.url}: {found.product}, {found.word}")

        health = await client.health()
        if not health.state.is_usable:
            sys.exit(f"{health.endpoint.url}: {health.word}. {health.next_step}")
        for model in await client.models(is_refresh=True):
            print(f"{model.model_id}: {model.state}, {model.context} tokens")


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except LMChatError as error:
        sys.exit(f"{error} {error.next_step}")
