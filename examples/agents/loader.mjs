// One of the agents that load a page: start with the others, and report how long it took.

import { Agent } from "./agent.mjs";

const [url, name] = process.argv.slice(2);
const agent = await Agent.join(url, "nightly", name);

await agent.doing("warming up");
const { value: page } = await agent.get("page");
const start = await agent.meet("loaded", { target: 2, timeout_s: 60 });
const began = performance.now();
await fetch(page);
await agent.publish("times", { name, ms: performance.now() - began });
console.log(name, "was number", start.rank, "of", start.arrived);
await agent.leave();
