/** A real server in a process of its own, a relay that plays a bad network before it, and waiting. */

import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import type { AddressInfo } from "node:net";

export const KEY = "sk_test_of_the_packages";
const GIVE_UP_MS = 60_000;

function given(name: string): string {
  const value = process.env[name];
  assert.ok(value, `${name} is missing: \`make typescript\` sets it`);
  return value;
}

/** Wait until this is so, and give it. */
export async function eventually<T>(look: () => T | Promise<T>, what = String(look)): Promise<T> {
  for (const giveUpAt = Date.now() + GIVE_UP_MS; ; ) {
    const found = await look();
    if (found) return found;
    assert.ok(Date.now() < giveUpAt, `gave up waiting for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function freePort(): Promise<number> {
  const probe = net.createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** `paygrade serve`, over the database that stays. With `simulated`, time is what `goTo` says. */
export class Server {
  #process: ChildProcess | undefined;

  private constructor(readonly port: number, readonly simulated: boolean) {}

  static async begin(options: { simulated?: boolean } = {}): Promise<Server> {
    const server = new Server(await freePort(), options.simulated ?? false);
    await server.start();
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const env = {
      ...process.env,
      PAYGRADE_DATABASE_URL: given("PAYGRADE_TEST_DATABASE"),
      PAYGRADE_CATALOG: given("PAYGRADE_TEST_CATALOG"),
      PAYGRADE_ADMIN_KEY: KEY,
      PAYGRADE_CLOCK_URL: this.simulated ? given("PAYGRADE_TEST_SIMULATOR") : "",
    };
    const command = [...given("PAYGRADE_TEST_COMMAND").split(" "), "serve", "--port", String(this.port)];
    this.#process = spawn(command[0]!, command.slice(1), { env, stdio: ["ignore", "ignore", "inherit"] });
    await eventually(() => fetch(`${this.url}/readyz`).then((answer) => answer.ok, () => false), "the server");
  }

  async kill(): Promise<void> {
    const ending = this.#process;
    if (ending === undefined || ending.exitCode !== null) return;
    ending.kill("SIGKILL");
    await once(ending, "exit");
  }

  async ask<T = unknown>(method: string, path: string, body?: unknown): Promise<T> {
    const headers = { authorization: `Bearer ${KEY}`, "content-type": "application/json" };
    const init = body === undefined ? { method, headers } : { method, headers, body: JSON.stringify(body) };
    const answer = await fetch(this.url + path, init);
    const text = await answer.text();
    assert.ok(answer.ok, `${method} ${path}: ${text}`);
    return (text === "" ? undefined : JSON.parse(text)) as T;
  }

  /** An account of one's own, on the free plan. */
  async account(): Promise<string> {
    const key = `acme-${crypto.randomUUID().slice(0, 8)}`;
    await this.ask("PUT", `/v1/accounts/${key}`, {});
    return key;
  }

  async buyPro(account: string, version = 1): Promise<void> {
    const items = [{ id: "main", plan: "pro", quantity: 3 }];
    const stated = { version, status: "active", items, anchor_at: "2026-01-31T00:00:00Z" };
    await this.ask("PUT", `/v1/accounts/${account}/subscriptions/main`, stated);
  }

  async override(account: string, feature: string, more: object = {}): Promise<void> {
    await this.ask("PUT", `/v1/accounts/${account}/overrides/${feature}`, { value: true, reason: "test", ...more });
  }

  async token(account: string, more: object = {}): Promise<string> {
    return (await this.ask<{ token: string }>("POST", `/v1/accounts/${account}/tokens`, more)).token;
  }

  /** How many streams are open. */
  async streams(): Promise<number> {
    const metrics = await (await fetch(`${this.url}/metrics`)).text();
    return Number(/^paygrade_streams ([\d.]+)$/m.exec(metrics)?.[1]);
  }
}

/** Move the simulator's clock. */
export async function goTo(instant: Date): Promise<void> {
  const url = `${given("PAYGRADE_TEST_SIMULATOR")}/_simulator/clock`;
  const init = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ to: instant }) };
  const answer = await fetch(url, init);
  assert.ok(answer.ok, await answer.text());
}

/** What stands before a server: requests pass, are counted, and can be cut, refused or answered with garbage. */
export class Relay {
  /** How many requests came, by path. */
  readonly asked = new Map<string, number>();
  /** Whether no request gets through. */
  down = false;
  /** What becomes of what a stream says. */
  rewrite: ((text: string) => string) | undefined;
  /** Whether streams are answered with a page. */
  blocksStreams = false;
  /** What every answer is instead. */
  instead: { status: number; type: string; body: string } | undefined;
  readonly #streams = new Set<http.ServerResponse>();
  readonly #http: http.Server;

  private constructor(readonly target: string) {
    this.#http = http.createServer((request, response) => this.#pass(request, response));
  }

  static async begin(target: string): Promise<Relay> {
    const relay = new Relay(target);
    relay.#http.listen(0, "127.0.0.1");
    await once(relay.#http, "listening");
    return relay;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  count(path: string): number {
    return this.asked.get(path) ?? 0;
  }

  /** Put this into the streams that are open. */
  say(text: string): void {
    for (const stream of this.#streams) stream.write(text);
  }

  /** Cut all connections. */
  cut(): void {
    this.#http.closeAllConnections();
  }

  end(): void {
    this.#http.close();
    this.cut();
  }

  #pass(request: http.IncomingMessage, response: http.ServerResponse): void {
    const path = request.url!.split("?")[0]!.replace(/acme-\w+/, "{account}");
    this.asked.set(path, this.count(path) + 1);
    if (this.down) {
      request.socket.destroy();
      return;
    }
    const page = { status: 200, type: "text/html", body: "<h1>No streams here</h1>" };
    const instead = this.blocksStreams && path === "/v1/stream" ? page : this.instead;
    if (instead !== undefined) {
      response.writeHead(instead.status, { "content-type": instead.type }).end(instead.body);
      return;
    }
    const onward = http.request(this.target + request.url!, { method: request.method!, headers: request.headers });
    onward.on("error", () => response.destroy());
    onward.on("response", (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      if (path === "/v1/stream") {
        this.#streams.add(response);
        response.on("close", () => this.#streams.delete(response));
      }
      const rewrite = path === "/v1/stream" ? this.rewrite : undefined;
      if (rewrite === undefined) answer.pipe(response);
      else answer.setEncoding("utf8").on("data", (text: string) => response.write(rewrite(text)));
      answer.on("error", () => response.destroy());
    });
    response.on("close", () => onward.destroy());
    request.pipe(onward);
  }
}
