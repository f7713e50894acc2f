"""Writers of a test: all begin at one moment, and count what each has done."""

import asyncio
import os
import sys

from tidelab.agent import Agent

URL = os.environ.get("COORDINATOR_URL", "http://127.0.0.1:9104")


async def main(name: str) -> None:
    async with Agent(URL, run="nightly", name=name) as agent:
        await agent.doing("seeding its rows")
        start = await agent.meet("seeded", target=2, timeout_s=30)
        await agent.publish("log", f"{name} writes")
        done = await agent.raise_signal("done")
        await agent.wait_signal("done", count=start.arrived, timeout_s=30)
        print(name, "was number", done, "of", start.arrived)


asyncio.run(main(sys.argv[1]))
