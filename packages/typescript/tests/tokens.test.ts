/** Account tokens: renewed before they end, and when the server refuses them; each with the simulator's clock. */

import assert from "node:assert/strict";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { after, afterEach, before, test } from "node:test";
import { Paygrade, type Options } from "@paygrade/client";
import { eventually, goTo, Server } from "./support.js";

let server: Server;
before(async () => (server = await Server.begin({ simulated: true })));
after(() => server.kill());

const clients: Paygrade[] = [];
afterEach(() => clients.splice(0).forEach((client) => client.close()));

function made(account: string, getToken: () => Promise<string>, more: Partial<Options> = {}): Paygrade {
  const client = new Paygrade({ url: server.url, account, getToken, ...more });
  clients.push(client);
  return client;
}

test("a token that ends is renewed, the stream goes on, and nothing changes that is not missed", async () => {
  const account = await server.account();
  let tokens = 0;
  const getToken = async () => {
    tokens += 1;
    return server.token(account, { ttl_s: 60 });
  };
  const client = made(account, getToken);
  await client.ready();
  assert.equal(client.decision("projects").allowed, true);
  await eventually(() => client.status.state === "connected");
  assert.equal(tokens, 1);

  const { as_of } = await server.ask<{ as_of: string }>("GET", `/v1/accounts/${account}/decisions`);
  await goTo(new Date(Date.parse(as_of) + 3_600_000));
  await eventually(() => tokens === 2 && client.status.state === "connected");
  await server.override(account, "exports", { expires_at: new Date(Date.parse(as_of) + 7_200_000).toISOString() });
  await eventually(() => client.decision("exports").allowed);
  // The date is the simulator's: it comes when the clock is moved there.
  await goTo(new Date(Date.parse(as_of) + 7_200_000));
  await eventually(() => client.decision("exports").reason === "not_in_plan");
});

test("a token that is refused is replaced once, and then the refusal stands", async () => {
  const account = await server.account();
  const given: string[] = [];
  const client = made(account, async () => {
    given.push(given.length === 0 ? "of.nobody.here" : await server.token(account));
    return given.at(-1)!;
  });
  await client.refresh();
  assert.equal(given.length, 2);
  assert.equal(client.decision("projects").allowed, true);

  let asked = 0;
  const other = made(account, async () => (asked++, "of.nobody.here"));
  await assert.rejects(other.refresh(), { status: 401, code: "unauthenticated" });
  assert.equal(asked, 2);
});

test("one token is asked for at a time, and whoever can't get one is told", async () => {
  const account = await server.account();
  let asked = 0;
  const client = made(account, async () => (asked++, server.token(account)));
  await Promise.all([client.check("projects"), client.check("exports"), client.refresh()]);
  assert.equal(asked, 1);

  const without = made(account, () => Promise.reject(new Error("log in first")));
  await without.ready();
  assert.equal(without.status.detail, "there is no token: log in first");
  assert.equal(without.decision("projects").stale, true);
});

test("another account's token opens nothing", async () => {
  const [own, other] = [await server.account(), await server.account()];
  await assert.rejects(made(other, () => server.token(own)).refresh(), { status: 403, code: "insufficient_scope" });
});

test("the stream gets its new token before the old one ends, without a fault", async (context) => {
  // A server of its own: none issues tokens that end so soon.
  const shown: string[] = [];
  let number = 0;
  const soon = http.createServer((request, response) => {
    if (!request.url!.startsWith("/v1/stream")) return void response.writeHead(503).end();
    shown.push(request.headers.authorization!);
    const hello = { now: new Date(), resumed: "none", beat_s: 5, catalog: 1 };
    response.writeHead(200, { "content-type": "text/event-stream" }).write(`event: hello\ndata: ${JSON.stringify(hello)}\n\n`);
  });
  soon.listen(0, "127.0.0.1");
  context.after(() => (soon.close(), soon.closeAllConnections()));
  await eventually(() => soon.listening);
  const getToken = async () => {
    const now = Math.floor(Date.now() / 1_000);
    return `${++number}.${btoa(JSON.stringify({ iat: now - 60, exp: now + 10 }))}.x`;
  };
  const { port } = soon.address() as AddressInfo;
  const initial = { account: "acme", version: "1.1", as_of: "", decisions: {}, until: {} };
  const client = made("acme", getToken, { url: `http://127.0.0.1:${port}`, initial });
  const states = new Set<string>();
  client.subscribe(() => states.add(client.status.state));
  await eventually(() => shown.length >= 2);
  assert.notEqual(shown[0], shown[1]);
  assert.deepEqual([...states], ["connected"]);
});
