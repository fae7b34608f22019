// better-auth with @better-auth/stripe, both unmodified, beside a running simulator: `node shop.mjs <url> <key>`.
// Somebody signs up, buys, upgrades, cancels, comes back and moves to the smaller plan; tells what they had as JSON.

import assert from "node:assert/strict";
import { createServer } from "node:http";

import { stripe as stripePlugin } from "@better-auth/stripe";
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import { toNodeHandler } from "better-auth/node";
import Stripe from "stripe";

const [, , address, key] = process.argv;
const { hostname, port } = new URL(address);
const client = new Stripe(key, { host: hostname, port: Number(port), protocol: "http", maxNetworkRetries: 0 });
const failed = [];
const events = [];

async function control(what, wanted) {
  const answer = await fetch(`${address}/_simulator/${what}`, { method: "POST", body: JSON.stringify(wanted ?? {}) });
  assert.equal(answer.status, 200, await answer.clone().text());
  return answer.json();
}

async function price(name, amount, interval) {
  const recurring = { interval };
  return client.prices.create({ currency: "eur", unit_amount: amount, recurring, product_data: { name } });
}

const starter = await price("Starter", 1000, "month");
const pro = await price("Pro", 3000, "month");
// What a merchant sets in the dashboard: customers may move between the plans. The first visit saves the default.
const visitor = await client.customers.create({ email: "merchant@example.org" });
await client.billingPortal.sessions.create({ customer: visitor.id });
const [portal] = (await client.billingPortal.configurations.list({ is_default: true })).data;
await client.billingPortal.configurations.update(portal.id, {
  features: {
    subscription_cancel: { enabled: true, mode: "at_period_end" },
    subscription_update: {
      enabled: true,
      default_allowed_updates: ["price"],
      products: [starter, pro].map((one) => ({ product: one.product, prices: [one.id] })),
    },
  },
});
const server = createServer((request, response) => handler(request, response));
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const shop = `http://127.0.0.1:${server.address().port}`;
const endpoint = await client.webhookEndpoints.create({ url: `${shop}/api/auth/stripe/webhook`, enabled_events: ["*"] });
const rows = { user: [], session: [], account: [], verification: [], subscription: [], rateLimit: [] };
const auth = betterAuth({
  baseURL: shop,
  secret: "a secret of thirty-two characters or more",
  database: memoryAdapter(rows),
  emailAndPassword: { enabled: true },
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  logger: { level: "warn", log: (level, message, ...rest) => failed.push(`${level}: ${message} ${rest.map(String)}`) },
  plugins: [
    stripePlugin({
      stripeClient: client,
      stripeWebhookSecret: endpoint.secret,
      createCustomerOnSignUp: true,
      onEvent: async (event) => void events.push(event.type),
      subscription: {
        enabled: true,
        plans: [
          { name: "starter", priceId: starter.id, limits: { projects: 3 }, freeTrial: { days: 7 } },
          { name: "pro", priceId: pro.id, limits: { projects: 30 } },
        ],
      },
    }),
  ],
});
const handler = toNodeHandler(auth);
let cookie = "";

async function ask(path, body) {
  const headers = { origin: shop, cookie, ...(body ? { "content-type": "application/json" } : {}) };
  const sent = body ? { method: "POST", body: JSON.stringify(body), headers } : { headers };
  const answer = await fetch(`${shop}/api/auth${path}`, sent);
  assert.equal(answer.status, 200, `${path}: ${await answer.clone().text()}`);
  cookie = answer.headers.getSetCookie().map((one) => one.split(";")[0]).join("; ") || cookie;
  return answer.json();
}

const last = (url) => new URL(url).pathname.split("/").pop();
const told = [];

async function note(what) {
  await control("flush");
  const had = rows.subscription.map((one) => [one.plan, one.status, Boolean(one.cancelAtPeriodEnd || one.cancelAt)]);
  told.push([what, ...had]);
}

async function upgrade(plan, more) {
  return ask("/subscription/upgrade", {
    plan, successUrl: "/done", cancelUrl: "/back", returnUrl: "/account", disableRedirect: true, ...more,
  });
}

await ask("/sign-up/email", { email: "ada@example.org", password: "correct horse", name: "Ada" });
assert.match(rows.user[0].stripeCustomerId, /^cus_/);
const bought = await control("checkout", { session: last((await upgrade("starter")).url), outcome: "pay" });
assert.equal(bought.outcome, "complete");
await note("bought");
// The way back from the page, which looks at Stripe itself.
const back = await fetch(bought.redirect_to, { redirect: "manual", headers: { cookie } });
assert.equal(back.status, 302);
await note("came back");
await control("clock", { advance: "8d" });
await note("trial over");
const changing = await upgrade("pro", { subscriptionId: rows.subscription[0].stripeSubscriptionId });
await control("portal", { session: last(changing.url), action: "confirm" });
await note("upgraded");
const leaving = await ask("/subscription/cancel", { returnUrl: "/account", disableRedirect: true });
await control("portal", { session: last(leaving.url), action: "cancel", feedback: "too_expensive" });
await note("canceling");
await ask("/subscription/restore", {});
await note("restored");
await upgrade("starter", {
  subscriptionId: rows.subscription[0].stripeSubscriptionId, scheduleAtPeriodEnd: true,
});
await note("smaller later");
await control("clock", { advance: "32d" });
await note("smaller");
await control("clock", { advance: "31d" }); // the schedule lets the subscription go
await note("released");
const visit = await ask("/subscription/billing-portal", { returnUrl: "/account", disableRedirect: true });
assert.match(visit.url, /\/p\/session\//);
const ending = await ask("/subscription/cancel", { returnUrl: "/account", disableRedirect: true });
await control("portal", { session: last(ending.url), action: "cancel" });
await control("clock", { advance: "40d" });
await note("ended");
const listed = await ask("/subscription/list");
const deliveries = await (await fetch(`${address}/_simulator/deliveries`)).json();
const refused = deliveries.deliveries.filter((one) => one.status !== "delivered");
server.close();
console.log(JSON.stringify({ failed, told, listed: listed.length, taken: events.length, refused }));
process.exit(0);
