/** The client beside a real server: what it knows follows what the server says, through whatever goes wrong. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Paygrade, PaygradeError, type Options } from "@paygrade/client";
import { eventually, KEY, Relay, Server } from "./support.js";

const DECISIONS = "/v1/accounts/{account}/decisions";
let server: Server;
before(async () => (server = await Server.begin()));
after(() => server.kill());

/** Run with a client of an account of its own; `through` a relay, if there is one. */
async function withClient(
  run: (client: Paygrade, account: string, relay: Relay) => Promise<void>,
  options: Partial<Options> = {},
): Promise<void> {
  const account = await server.account();
  const relay = await Relay.begin(server.url);
  const client = new Paygrade({ url: relay.url, account, getToken: async () => KEY, ...options });
  try {
    await run(client, account, relay);
  } finally {
    client.close();
    relay.end();
  }
}

const connected = (client: Paygrade) =>
  eventually(() => client.status.state === "connected" && !client.decision("exports").stale, "the stream");

test("a plan change is seen as it happens, with every field of the server's decision", () =>
  withClient(async (client, account) => {
    assert.equal(client.decision("exports").loading, true);
    await client.ready();
    assert.equal(client.decision("exports").reason, "not_in_plan");
    await connected(client);
    await server.buyPro(account);
    await eventually(() => client.decision("exports").allowed);
    const { loading, age, ...decision } = client.decision("exports");
    assert.deepEqual([loading, age], [false, 0]);
    const asked = await server.ask<object>("POST", "/v1/check", { account, feature: "exports" });
    assert.deepEqual({ ...decision, as_of: "" }, { ...asked, as_of: "" });
    assert.equal(client.decision("retention").value, 90);
  }));

test("what is used is heard, at a pace, and one object stands for what has not changed", () =>
  withClient(async (client, account, relay) => {
    await client.ready();
    await connected(client);
    const before = client.decision("exports");
    const asked = relay.count(DECISIONS);
    for (let n = 0; n < 20; n++) {
      await server.ask("POST", "/v1/consume", { account, feature: "api_calls", id: `use-${n}` });
    }
    await eventually(() => client.decision("api_calls").used === 20);
    assert.ok(relay.count(DECISIONS) - asked < 12, `${relay.count(DECISIONS) - asked} requests for 20 uses`);
    assert.equal(client.decision("exports"), before);
  }));

test("a use in particular is asked about, and refusals are thrown", () =>
  withClient(async (client) => {
    const many = await client.check("projects", { quantity: 3 });
    assert.deepEqual([many.allowed, many.reason, many.quantity], [false, "limit_reached", 3]);
    assert.equal((await client.check("projects", { quantity: 2 })).allowed, true);
    await assert.rejects(client.check("projects", { quantity: -1 }), (error: unknown) => {
      return error instanceof PaygradeError && error.status === 400 && error.code === "invalid_body";
    });
  }));

test("features nobody sells and accounts nobody knows are denied, until they are known", async () => {
  const account = `acme-${crypto.randomUUID().slice(0, 8)}`;
  const client = new Paygrade({ url: server.url, account, getToken: async () => KEY });
  await client.ready();
  assert.equal(client.decision("projects").reason, "unknown_account");
  await connected(client);
  assert.equal(client.decision("projects").age, 0);
  await server.ask("PUT", `/v1/accounts/${account}`, {});
  await eventually(() => client.decision("projects").allowed);
  assert.equal(client.decision("teleport").reason, "unknown_feature");
  assert.equal(client.decision("teleport").message, `${account} can't use teleport: the catalog has no such feature`);
  client.close();
});

test("before anything is known the declared default counts, stale, and close ends all", () =>
  withClient(
    async (client, _, relay) => {
      relay.down = true;
      await client.ready();
      const [open, shut] = [client.decision("exports"), client.decision("projects")];
      assert.deepEqual([open.allowed, open.reason, open.stale, open.loading, open.age], [true, "stale", true, false, Infinity]);
      assert.equal(shut.allowed, false);
      assert.equal((await client.check("exports", { quantity: 2 })).allowed, true);
      relay.down = false;
      await eventually(() => client.decision("projects").allowed);
      client.close();
      assert.deepEqual([client.status.state, client.decision("projects").allowed], ["off", true]);
      await eventually(async () => (await server.streams()) === 0);
    },
    { onError: { exports: "allow" } },
  ));

test("a killed server takes nothing away that is known, and what changed meanwhile is seen after it is back", () =>
  withClient(async (client, account) => {
    await server.buyPro(account);
    await client.ready();
    await connected(client);
    try {
      await server.kill();
      await eventually(() => client.status.state === "interrupted");
      assert.equal(client.decision("exports").stale, true);
      assert.deepEqual([client.decision("exports").allowed, client.decision("retention").value], [true, 90]);
      await eventually(() => client.decision("exports").age > 0);
    } finally {
      await server.start();
    }
    await server.ask("PUT", `/v1/accounts/${account}/blocks/fraud`, {});
    await eventually(() => client.decision("exports").reason === "blocked");
    await connected(client);
    assert.equal(client.decision("exports").age, 0);
  }));

test("what ends on a date ends then, and while the server is away it ends as well", () =>
  withClient(
    async (client, account, relay) => {
      const expires_at = new Date(Date.now() + 4_000).toISOString();
      for (const feature of ["exports", "audit_log"]) await server.override(account, feature, { expires_at });
      await client.ready();
      await connected(client);
      assert.equal(client.decision("audit_log").allowed, true);
      await eventually(() => client.decision("audit_log").reason === "not_in_plan");
      assert.ok(Date.now() >= Date.parse(expires_at) - 50);

      const later = new Date(Date.now() + 3_000).toISOString();
      for (const feature of ["exports", "audit_log"]) await server.override(account, feature, { expires_at: later });
      await eventually(() => client.decision("audit_log").allowed);
      relay.down = true;
      relay.cut();
      await eventually(() => client.decision("audit_log").stale);
      assert.equal(client.decision("audit_log").allowed, true);
      await eventually(() => !client.decision("audit_log").allowed);
      assert.ok(Date.now() >= Date.parse(later) - 50);
      // What is not known to end stays, and what has a default is answered by it.
      assert.deepEqual([client.decision("projects").allowed, client.decision("exports").allowed], [true, true]);
      assert.equal(client.decision("exports").reason, "stale");
    },
    { onError: { exports: "allow" } },
  ));

test("garbage on the stream ends it, and it begins anew with everything asked again", () =>
  withClient(async (client, account, relay) => {
    await client.ready();
    await connected(client);
    relay.say("event: novelty\ndata: {nothing of ours}\n\n");
    const streams = relay.count("/v1/stream");
    for (const garbage of ["event: news\ndata: {nothing of ours}\n\n", 'event: beat\ndata: {"now": "noon"}\n\n']) {
      const asked = relay.count(DECISIONS);
      relay.say(garbage);
      await eventually(() => client.decision("projects").stale);
      assert.equal(client.decision("projects").allowed, true);
      await connected(client);
      assert.ok(relay.count(DECISIONS) > asked);
    }
    assert.equal(relay.count("/v1/stream"), streams + 2);
    await server.buyPro(account);
    await eventually(() => client.decision("exports").allowed);
  }));

test("a connection on which nothing comes any more is given up after two and a half beats", () =>
  withClient(async (client, _, relay) => {
    // As over a network that swallows: the server's own beats come far too seldom for what is said here.
    relay.rewrite = (text) => text.replace(/"beat_s":[\d.]+/, '"beat_s":0.4');
    await client.ready();
    await eventually(() => client.status.detail === "nothing was heard for too long");
    assert.equal(client.decision("projects").stale, true);
    relay.rewrite = undefined;
    await connected(client);
  }));

test("where something on the way lets no stream through, it is asked now and then", () =>
  withClient(async (client, account, relay) => {
    relay.blocksStreams = true;
    await client.ready();
    await server.buyPro(account);
    await eventually(() => client.decision("exports").allowed);
    assert.deepEqual([client.status.detail, client.decision("exports").stale], ["the answer is not a stream", true]);
  }));

test("what a listener throws stops nothing", (context) =>
  withClient(async (client, account) => {
    const complaints = context.mock.method(console, "error", () => {});
    client.subscribe(() => {
      throw new Error("of the page");
    });
    await client.ready();
    await connected(client);
    await server.buyPro(account);
    await eventually(() => client.decision("exports").allowed);
    assert.equal(client.status.state, "connected");
    assert.ok(complaints.mock.callCount() > 0);
  }));

test("an answer that is not the server's erases nothing", () =>
  withClient(async (client, account, relay) => {
    await client.ready();
    await connected(client);
    for (const [status, type, body] of [
      [200, "text/html", "<h1>Log in</h1>"],
      [200, "application/json", '{"decisions": {"projects": 7}, "until": {}}'],
      [404, "text/html", "no such page"],
      [500, "application/json", "{}"],
    ] as const) {
      relay.instead = { status, type, body };
      await assert.rejects(client.refresh());
      assert.deepEqual([client.decision("projects").allowed, client.decision("projects").stale], [true, true]);
    }
    relay.cut();
    await eventually(() => client.status.state === "interrupted");
    relay.instead = undefined;
    await connected(client);
    await server.buyPro(account);
    await eventually(() => client.decision("exports").allowed);
  }));

test("whoever missed nothing goes on without asking again", () =>
  withClient(async (client, account, relay) => {
    await client.refresh();
    const initial = client.known;
    const next = new Paygrade({ url: relay.url, account, getToken: async () => KEY, initial });
    next.start();
    await eventually(() => next.status.state === "connected" && next.known !== initial, "the stream");
    const asked = relay.count(DECISIONS);
    relay.cut();
    await eventually(() => next.decision("projects").stale);
    await connected(next);
    assert.equal(relay.count(DECISIONS), asked);
    next.close();
  }));

test("a browser that goes offline knows it at once, and connects as soon as it is online", async () => {
  const page = new EventTarget();
  const document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  const globals = globalThis as unknown as Record<string, unknown>;
  Object.assign(globals, {
    addEventListener: page.addEventListener.bind(page),
    removeEventListener: page.removeEventListener.bind(page),
    document,
  });
  try {
    await withClient(async (client, account, relay) => {
      await client.ready();
      await connected(client);
      const details = new Set<string>();
      client.subscribe(() => details.add(client.status.detail));
      relay.down = true;
      page.dispatchEvent(new Event("offline"));
      await eventually(() => details.has("the browser is offline"));
      assert.equal(client.decision("projects").stale, true);
      // Let the waits grow: what ends them is the event.
      await eventually(() => relay.count("/v1/stream") >= 3);
      await server.buyPro(account);
      relay.down = false;
      page.dispatchEvent(new Event("online"));
      await eventually(() => client.decision("exports").allowed);
      document.dispatchEvent(new Event("visibilitychange"));
      await connected(client);
      client.close();
      page.dispatchEvent(new Event("online"));
    });
    assert.equal(await eventually(async () => (await server.streams()) === 0), true);
  } finally {
    for (const name of ["addEventListener", "removeEventListener", "document"]) delete globals[name];
  }
});

test("a member is asked for, and answers of a page's server are begun with", () =>
  withClient(async (onServer, account) => {
    await server.buyPro(account);
    await server.ask("PUT", `/v1/accounts/${account}/members/ann`, { role: "owner" });
    await onServer.refresh();
    assert.deepEqual([onServer.status.state, onServer.decision("exports").stale], ["off", false]);
    assert.equal(onServer.decision("billing_admin").reason, "role_not_permitted");

    const options = { url: server.url, account, member: "ann", getToken: async () => KEY };
    const inBrowser = new Paygrade({ ...options, initial: JSON.parse(JSON.stringify(onServer.known)) });
    const begun = inBrowser.decision("exports");
    assert.deepEqual([begun.loading, begun.allowed], [false, true]);
    await inBrowser.ready();
    await eventually(() => inBrowser.decision("billing_admin").allowed);
    inBrowser.close();
    const ofAnother = new Paygrade({ ...options, account: "acme-other", initial: onServer.known });
    assert.equal(ofAnother.decision("exports").loading, true);
  }));
