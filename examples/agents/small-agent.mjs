// An agent of a test run in sixty lines, for Node 22 and browsers. It does not come back when its
// connection breaks: all that waits is rejected then. The one in agent.mjs comes back.

export class Agent {
  #asked = new Map();
  #listeners = new Map();
  #lastId = 0; #socket;

  /** Join a run; `agent` is this agent's name. More fields are those of `join`, as `size`. */
  static async join(url, run, agent, more = {}) {
    const self = new Agent();
    const socket = (self.#socket = new WebSocket(url.replace(/^http/, "ws") + "/v2/connect"));
    socket.onmessage = ({ data }) => self.#receive(JSON.parse(data));
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onclose = socket.onerror = () => reject(new Error(`no coordinator at ${url}`));
    });
    socket.onclose = ({ code, reason }) => self.#end(`closed: ${code} ${reason}`);
    await self.ask("join", { run, agent, ...more });
    return self;
  }

  /** Send any command of the protocol; resolve with its answer, or reject with its error. */
  ask(command, fields = {}, listener = undefined) {
    if (this.#socket.readyState !== WebSocket.OPEN) return Promise.reject(new Error("closed"));
    const id = ++this.#lastId;
    this.#socket.send(JSON.stringify({ id, do: command, ...fields }));
    return new Promise((resolve, reject) => this.#asked.set(id, { resolve, reject, listener }));
  }

  /** Meet others and start with them; terms are `{ target: 2 }` or `{ roster: ["a", "b"] }`. */
  async meet(barrier, terms) {
    const start = await this.ask("wait", { barrier, ...terms });
    await new Promise((go) => setTimeout(go, start.start_in_ms));
    return start;
  }

  /** Call a listener with each event `{ offset, data }` of a topic, from an offset on. */
  follow = (topic, listener, offset = 1) => this.ask("subscribe", { topic, offset }, listener);
  leave = () => this.ask("leave").finally(() => this.#socket.close());

  #receive({ id, ok, error, event, ...told }) {
    if (event === "appended") this.#listeners.get(told.topic)?.(told);
    const asked = this.#asked.get(id);
    if (!asked) return;
    this.#asked.delete(id);
    if (error) return asked.reject(Object.assign(new Error(error.message), error));
    if (asked.listener) {
      // Here, and not when the promise is awaited: the next event may be in the same packet.
      this.#listeners.set(ok.topic, asked.listener);
      ok.events.forEach((each) => asked.listener(each));
    }
    asked.resolve(ok);
  }

  #end(why) {
    for (const { reject } of this.#asked.values()) reject(new Error(why));
    this.#asked.clear();
  }
}
