// An agent of a test run, for Node 22 and browsers: no dependency, no build.
// It does not reconnect: when the socket closes, all that waits is rejected.

export class Agent {
  #answers = new Map();
  #listeners = new Map();
  #lastId = 0;
  #socket;

  /** Join a run; `agent` is this agent's name. More fields are those of `join`, as `size`. */
  static async join(url, run, agent, more = {}) {
    const self = new Agent();
    const socket = (self.#socket = new WebSocket(url.replace(/^http/, "ws") + "/v2/connect"));
    socket.onmessage = (message) => self.#receive(JSON.parse(message.data));
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
    return new Promise((resolve, reject) => this.#answers.set(id, { resolve, reject, listener }));
  }

  /** Meet others and start with them; terms are `{ target: 2 }` or `{ roster: ["a", "b"] }`. */
  async meet(barrier, terms) {
    const start = await this.ask("wait", { barrier, ...terms });
    await new Promise((go) => setTimeout(go, start.start_in_ms));
    return start;
  }

  raise = async (signal) => (await this.ask("raise", { signal })).sequence;
  await = async (signal, count = 1) => (await this.ask("await", { signal, count })).count;
  publish = async (topic, data) => (await this.ask("publish", { topic, data })).offset;
  put = async (key, value, more = {}) => (await this.ask("put", { key, value, ...more })).version;
  get = (key) => this.ask("get", { key });
  doing = (what) => this.ask("beat", { doing: what });

  /** Call a listener with each event `{ offset, data }` of a topic, from an offset on. */
  follow = (topic, listener, offset = 1) => this.ask("subscribe", { topic, offset }, listener);

  async leave() {
    await this.ask("leave");
    this.#socket.close();
  }

  #receive({ id, ok, error, event, ...told }) {
    if (event === "appended") this.#listeners.get(told.topic)?.(told);
    const answer = this.#answers.get(id);
    if (!answer) return;
    this.#answers.delete(id);
    if (error) return answer.reject(Object.assign(new Error(error.message), error));
    if (answer.listener) {
      // Here, and not when the promise is awaited: the next event may be in the same packet.
      this.#listeners.set(ok.topic, answer.listener);
      ok.events.forEach((each) => answer.listener(each));
    }
    answer.resolve(ok);
  }

  #end(why) {
    for (const { reject } of this.#answers.values()) reject(new Error(why));
    this.#answers.clear();
  }
}
