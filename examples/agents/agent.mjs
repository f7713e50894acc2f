// An agent of a test run, for Node 22 and browsers: no dependency, no build. When its connection
// breaks it comes back as the same agent, and asks again for what has no answer yet, under the same
// name (`once`), so that nothing happens twice.

const NAMED = ["cancel", "raise", "publish", "put", "delete"];
const IN_DOUBT_MAX = 32; // of those at once: so many answers are kept to be repeated
const OPEN_MS = 10_000;
const FRAME_BYTES_MAX = 2 * 1024 * 1024; // for a larger one the coordinator closes the socket

export class Agent {
  #url; #protocols; #fields; #socket; #ended;
  #lastId = 0;
  #asked = new Map();
  #followed = new Map();
  #chance = crypto.getRandomValues(new Uint32Array(3)).join("-");

  /** Join a run; `agent` is this agent's name. More fields are those of `join`, as `size`. */
  static async join(url, run, agent, { open_s = 10, token, ...more } = {}) {
    const self = new Agent();
    [self.#url, self.#fields] = [url, { run, agent, ...more }];
    self.#protocols = token ? ["tidelab.v2", "bearer." + base64url(token)] : [];
    await self.#come(open_s);
    if (self.#ended) throw self.#ended;
    return self;
  }

  /** Send any command of the protocol; resolve with its answer, or reject with its error. */
  ask(command, fields = {}) {
    if (this.#ended) return Promise.reject(this.#ended);
    const id = ++this.#lastId;
    const named = NAMED.includes(command);
    const frame = { id, do: command, ...fields };
    if (named || command === "wait") frame.once ??= `${this.#chance}.${id}`;
    if (new Blob([JSON.stringify(frame)]).size > FRAME_BYTES_MAX)
      return Promise.reject(new Error(`a request has at most ${FRAME_BYTES_MAX} bytes`));
    const until = fields.timeout_s && performance.now() + 1000 * fields.timeout_s;
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { frame, named, until, resolve, reject });
      this.#send();
    });
  }

  /** Meet others and start with them; terms are `{ target: 2 }` or `{ roster: ["a", "b"] }`. */
  async meet(barrier, terms) {
    const start = await this.ask("wait", { barrier, ...terms });
    await sleep(start.start_in_ms);
    return start;
  }

  raise = async (signal) => (await this.ask("raise", { signal })).sequence;
  await = async (signal, count = 1) => (await this.ask("await", { signal, count })).count;
  publish = async (topic, data) => (await this.ask("publish", { topic, data })).offset;
  put = async (key, value, more = {}) => (await this.ask("put", { key, value, ...more })).version;
  get = (key) => this.ask("get", { key });
  doing = (what) => this.ask("beat", { doing: (this.#fields.doing = what) });

  /** Call a listener with each event `{ offset, data, missed }` of a topic, from an offset on. */
  follow(topic, listener, offset = 1) {
    this.#followed.set(topic, { listener, next: offset });
    return this.ask("subscribe", { topic, offset });
  }

  /** Say goodbye, so that nobody waits for this agent. */
  async leave() {
    if (this.#socket) await this.ask("leave");
    this.#end(new Error("this agent has left"));
  }

  async #come(patience_s) {
    const until = performance.now() + 1000 * patience_s;
    for (let pause_ms = 20; !this.#ended; pause_ms = Math.min(2 * pause_ms, 1000)) {
      try {
        return await this.#connect();
      } catch (error) {
        if (error.code || performance.now() > until) this.#end(error);
        else await sleep(pause_ms * (0.5 + Math.random() / 2)); // not all at the same time
      }
    }
  }

  #connect() {
    const socket = new WebSocket(socketOf(this.#url), this.#protocols);
    const timer = setTimeout(() => socket.close(), OPEN_MS);
    const page = globalThis.location ? ` that allows pages of ${location.origin}` : "";
    const token = this.#protocols.length ? ", or not with this token" : "";
    return new Promise((resolve, reject) => {
      socket.onopen = () => socket.send(JSON.stringify({ do: "join", ...this.#fields }));
      socket.onclose = socket.onerror = () => reject(new Error(`no coordinator at ${this.#url}${page}${token}`));
      socket.onmessage = ({ data }) => {
        const { ok, error } = JSON.parse(data);
        if (error || this.#ended) socket.close();
        if (error) return reject(errorOf(error));
        if (!this.#ended) this.#resume(socket, ok);
        resolve();
      };
    }).finally(() => clearTimeout(timer));
  }

  #resume(socket, { began_ms, lease_s }) {
    Object.assign(this.#fields, { began_ms, lease_s }); // it is this run that it comes back to
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    socket.onclose = () => {
      this.#socket = undefined;
      this.#come(lease_s);
    };
    for (const [topic, { next }] of this.#followed)
      this.ask("subscribe", { topic, offset: next }).catch(() => {}); // its follower was told
    this.#send();
  }

  #send() {
    let inDoubt = 0;
    for (const asked of this.#socket ? this.#asked.values() : []) {
      if (asked.named && ++inDoubt > IN_DOUBT_MAX) continue;
      if (asked.socket === this.#socket) continue;
      asked.socket = this.#socket;
      if (asked.until) asked.frame.timeout_s = Math.max(asked.until - performance.now(), 1) / 1000;
      this.#socket.send(JSON.stringify(asked.frame));
    }
  }

  #receive({ id, ok, error, event, ...told }) {
    if (event === "appended") this.#deliver(told.topic, [told]);
    if (event === "replaced") this.#end(new Error(`another connection is ${told.agent} now`));
    if (event === "dropped") this.#end(new Error(`run ${told.run} was deleted`));
    const asked = this.#asked.get(id);
    if (!asked) return;
    this.#asked.delete(id);
    // Here, and not when the promise is awaited: the next event may be in the same packet.
    if (ok && asked.frame.do === "subscribe") this.#deliver(ok.topic, ok.events);
    if (error) asked.reject(errorOf(error));
    else asked.resolve(ok);
    this.#send();
  }

  #deliver(topic, events) {
    const followed = this.#followed.get(topic);
    for (const { offset, data } of followed ? events : []) {
      if (offset < followed.next) continue; // it came before the cut, too
      const missed = offset - followed.next;
      followed.next = offset + 1;
      followed.listener({ offset, data, missed });
    }
  }

  #end(error) {
    this.#ended = error;
    this.#socket?.close();
    this.#socket = undefined;
    for (const { reject } of this.#asked.values()) reject(error);
    this.#asked.clear();
  }
}

// The address of the page, .../v2/, is as good.
const socketOf = (url) => url.replace(/^http/, "ws").replace(/\/(v2\/?)?$/, "") + "/v2/connect";
// A page can send no header of its own with a socket: the token is one of the protocols it offers.
const base64url = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)))
  .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const sleep = (ms) => new Promise((go) => setTimeout(go, ms));
const errorOf = (error) => Object.assign(new Error(error.message), error);
