// A running wilco for the tests, used from outside: its command line, its endpoint, and a browser.
import { spawn, spawnSync } from "node:child_process";
import { createHmac } from "node:crypto";
import { accessSync, constants, copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const WILCO = resolve(process.env.WILCO ?? "../../target/debug/wilco");
export const SECRET = "a-made-up-secret";
/// Another one, which the configuration does not name at first.
export const SECOND = "another-made-up-secret";

/// The usual destinations: one that works, one that calls `handler`, one that gives up at once and prints what it
/// was sent, and one for a person to pause.
const USUAL = `
[destination.crew-note]
type = "print"
[destination.erp]
type = "http"
url = "HANDLER"
# Between now and then, by chance: none may come while the tests run.
retry = { first = "90 days", max = "90 days", give_up_after = "200 days" }
[destination.folders]
type = "command"
command = ["/bin/sh", "-c", "cat; echo cannot reach storage.example.com >&2; exit 65"]
[destination.archive]
type = "file"
path = "archive.jsonl"
[[route]]
events = ["booking.*"]
to = ["crew-note", "erp"]
[[route]]
events = ["project.*"]
to = ["folders", "archive"]
[[route]]
when = 'data.status.name == "Confirmed" and data.name == "nobody"'
to = ["archive"]
`;

export class World {
  /// `tables`: TOML in place of the usual destinations. `store`: a store to begin with.
  static async start({ tables = USUAL, store } = {}) {
    const world = new World();
    world.folder = mkdtempSync(join(tmpdir(), "wilco-browser-"));
    world.handler = await Handler.start();
    if (store) copyFileSync(store, join(world.folder, "wilco.db"), constants.COPYFILE_FICLONE);
    const config = (address) => `
[listen]
address = "127.0.0.1:0"
tls = "off"
[store]
url = "sqlite:${world.folder}/wilco.db"
reserve = "1 MiB"
[admin]
address = "${address}"
[source.freispace]
provider = "freispace"
path = "/webhook"
secrets = [{ env = "FREISPACE_SECRET" }]
${tables.replaceAll("HANDLER", `${world.handler.url}/hooks`)}`;
    const write = (name, address) => writeFileSync(join(world.folder, name), config(address));
    write("wilco.toml", "127.0.0.1:0");
    accessSync(WILCO, constants.X_OK);
    world.child = spawn(WILCO, ["serve", "--config", "wilco.toml", "--log-format", "json"], {
      cwd: world.folder,
      env: world.env,
      stdio: ["ignore", "ignore", "pipe"],
    });
    const urls = await world.urls();
    world.endpoint = urls.endpoint;
    world.admin = urls.admin;
    // Commands find the admin listener by the file.
    write("verb.toml", new URL(world.admin).host);
    return world;
  }

  get env() {
    return { PATH: process.env.PATH, FREISPACE_SECRET: SECRET, SECOND_SECRET: SECOND, TZ: "UTC" };
  }

  /// Where it listens, once it does.
  urls() {
    return new Promise((done, fail) => {
      const found = {};
      this.log = [];
      this.child.once("exit", (code) => fail(new Error(`wilco ended with ${code}\n${this.log.join("\n")}`)));
      createInterface({ input: this.child.stderr }).on("line", (line) => {
        this.log.push(line);
        const entry = JSON.parse(line);
        if (entry.message === "listening") found.endpoint = entry.url;
        if (entry.message === "admin listener") found.admin = entry.url;
        if (found.endpoint && found.admin) done(found);
      });
    });
  }

  async stop() {
    this.child.removeAllListeners("exit");
    const ended = new Promise((done) => this.child.once("exit", done));
    this.child.kill();
    await ended;
    await this.handler.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /// What a command of wilco prints. It must succeed.
  run(...words) {
    const args = [...words, ...(words[0] === "send" ? [] : ["--config", "verb.toml"])];
    const { status, stdout, stderr } = spawnSync(WILCO, args, { cwd: this.folder, env: this.env, encoding: "utf8" });
    if (status !== 0) throw new Error(`wilco ${args.join(" ")}: ${status}\n${stdout}${stderr}`);
    return stdout;
  }

  /// `wilco send`, without waiting for it.
  sending(...words) {
    const args = ["send", ...words, "--to", this.endpoint];
    const child = spawn(WILCO, args, { cwd: this.folder, env: this.env, stdio: "ignore" });
    return new Promise((done) => child.once("exit", done));
  }

  /// Signed sample events.
  send(...words) {
    return this.run("send", ...words, "--to", this.endpoint);
  }

  /// A signed event with any content, and further headers.
  async post(body, headers = {}, path = "/webhook", secret = SECRET) {
    const bytes = Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
    const signature = createHmac("sha256", secret).update(bytes).digest("hex");
    const to = new URL(this.endpoint);
    const options = { host: to.hostname, port: to.port, path, method: "POST" };
    options.headers = { "content-type": "application/json", "x-freispace-signature": signature, ...headers };
    options.headers["content-length"] = bytes.length;
    return (await exchange(options, bytes)).status;
  }

  /// Asks the admin listener with exactly these headers.
  ask(method, path, headers = {}, body = "") {
    const to = new URL(this.admin);
    const options = { host: to.hostname, port: to.port, path, method };
    options.headers = { host: to.host, "content-length": Buffer.byteLength(body), ...headers };
    return exchange(options, body);
  }

  /// Changes the configuration of the running wilco.
  reconfigure(from, to) {
    const path = join(this.folder, "wilco.toml");
    writeFileSync(path, readFileSync(path, "utf8").replace(from, to));
    this.run("reload");
  }

  /// A link that signs in once.
  link(role = "operator") {
    return this.run("dashboard", "--print", "--role", role).trim();
  }

  events() {
    const lines = this.run("events", "list", "--all", "--json").split("\n").filter(Boolean);
    return lines.map((line) => JSON.parse(line));
  }

  /// Everything that a test could change, as text.
  state() {
    return this.run("events", "list", "--all", "--json") + this.run("destinations", "list", "--json");
  }

  /// Waits until every event has been routed and every delivery attempted, except to a paused destination.
  settled(paused) {
    const isDone = ({ destination, state }) => !["running", "pending"].includes(state) || destination === paused;
    const isSettled = () => this.events().every((event) => event.routed && event.deliveries.every(isDone));
    return eventually("all deliveries are attempted", isSettled, 180);
  }
}

/// The service behind the destination `erp`.
export class Handler {
  static async start() {
    const handler = new Handler();
    handler.status = 500;
    handler.says = "stock is not available";
    handler.caught = 0;
    handler.server = createServer((request, response) => {
      handler.caught += 1;
      request.resume();
      response.writeHead(handler.status, { "content-type": "text/plain" }).end(handler.says);
    });
    await new Promise((done) => handler.server.listen(0, "127.0.0.1", done));
    handler.url = `http://127.0.0.1:${handler.server.address().port}`;
    return handler;
  }

  stop() {
    this.server.closeAllConnections();
    return new Promise((done) => this.server.close(done));
  }
}

/// Waits for something. The limit is for a busy machine.
export async function eventually(what, isSo, seconds = 60) {
  const until = Date.now() + seconds * 1000;
  for (;;) {
    const found = await isSo();
    if (found) return found;
    if (Date.now() > until) throw new Error(`it did not come: ${what}`);
    await sleep(50);
  }
}

function exchange(options, body) {
  return new Promise((done, fail) => {
    const sent = request(options, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("end", () => {
        done({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts).toString() });
      });
    });
    sent.on("error", fail);
    sent.end(body);
  });
}
