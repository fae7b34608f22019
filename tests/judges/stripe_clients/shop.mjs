// The official library for Node through a shop's life, followed by @supabase/stripe-sync-engine, both unmodified:
// `node shop.mjs <url> <key> <database url>`. Tells what failed and what the engine's tables hold, as JSON.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createRequire } from "node:module";

import Stripe from "stripe";

const [, , address, key, databaseUrl] = process.argv;
const { hostname, port } = new URL(address);
const stripe = new Stripe(key, { host: hostname, port: Number(port), protocol: "http", maxNetworkRetries: 0 });
const require = createRequire(import.meta.url);
// As a CommonJS module: the other finds no folder of its migrations (`__dirname is not defined`).
const { runMigrations, StripeSync } = require("@supabase/stripe-sync-engine");
const failed = [];

async function control(what, wanted) {
  const answer = await fetch(`${address}/_simulator/${what}`, { method: "POST", body: JSON.stringify(wanted ?? {}) });
  assert.equal(answer.status, 200, await answer.clone().text());
  return answer.json();
}

// The engine as its documentation sets it up; only its client is told where Stripe is.
async function engine(secret) {
  const logger = { info() {}, error: (error, what) => failed.push({ engine: what, error: String(error?.stack ?? error) }) };
  await runMigrations({ databaseUrl, schema: "stripe", logger });
  const sync = new StripeSync({
    poolConfig: { connectionString: databaseUrl, max: 4 },
    stripeSecretKey: key,
    stripeWebhookSecret: secret,
    backfillRelatedEntities: true,
    autoExpandLists: true,
    // Otherwise it drops what happens within one second of an event it has: here everything does.
    revalidateObjectsViaStripeApi: [
      "charge",
      "credit_note",
      "customer",
      "dispute",
      "entitlements",
      "invoice",
      "payment_intent",
      "payment_method",
      "price",
      "product",
      "refund",
      "subscription",
      "subscription_schedule",
    ],
  });
  sync.stripe = stripe;
  return sync;
}

async function following() {
  const state = { sync: null, taken: 0 };
  const server = createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", async () => {
      const body = Buffer.concat(parts);
      try {
        await state.sync.processWebhook(body, request.headers["stripe-signature"]);
        state.taken += 1;
      } catch (error) {
        // What the engine has no table for it says itself, and is no fault of the sender.
        if (!/Unhandled webhook event/.test(error.message)) {
          failed.push({ webhook: JSON.parse(body).type, error: String(error.message).slice(0, 300) });
        }
      }
      response.writeHead(200).end();
    });
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const url = `http://127.0.0.1:${server.address().port}/`;
  const endpoint = await stripe.webhookEndpoints.create({ url, enabled_events: ["*"] });
  state.sync = await engine(endpoint.secret);
  return { state, server };
}

async function sell() {
  const product = await stripe.products.create({ name: "Pro" });
  const price = await stripe.prices.create({
    product: product.id,
    currency: "usd",
    unit_amount: 2000,
    recurring: { interval: "month" },
    lookup_key: "pro",
    currency_options: { eur: { unit_amount: 1800 } },
  });
  const customer = await stripe.customers.create({ email: "ada@example.org", metadata: { account: "acme" } });
  const card = await stripe.paymentMethods.attach("pm_card_visa", { customer: customer.id });
  await stripe.customers.update(customer.id, { invoice_settings: { default_payment_method: card.id } });
  const subscription = await stripe.subscriptions.create({
    customer: customer.id,
    items: [{ price: price.id, quantity: 2 }],
    expand: ["latest_invoice.payments", "latest_invoice.confirmation_secret"],
  });
  assert.equal(subscription.status, "active");
  assert.equal(subscription.latest_invoice.amount_paid, 4000);
  assert.equal(subscription.latest_invoice.payments.data[0].status, "paid");
  return { product, price, customer, subscription };
}

async function change({ price, customer, subscription }) {
  const [item] = subscription.items.data;
  const yearly = await stripe.prices.create({
    product: price.product,
    currency: "usd",
    unit_amount: 20000,
    recurring: { interval: "year" },
  });
  const preview = await stripe.invoices.createPreview({
    subscription: subscription.id,
    subscription_details: { items: [{ id: item.id, price: yearly.id }] },
  });
  const upgraded = await stripe.subscriptions.update(subscription.id, {
    items: [{ id: item.id, price: yearly.id }],
    proration_behavior: "always_invoice",
    expand: ["latest_invoice"],
  });
  assert.equal(upgraded.latest_invoice.total, preview.total);
  assert.equal(upgraded.items.data[0].price.id, yearly.id);
  const found = await stripe.customers.search({ query: "metadata['account']:'acme'" });
  assert.deepEqual(found.data.map((one) => one.id), [customer.id]);
  const charges = [];
  for await (const charge of stripe.charges.list({ customer: customer.id, limit: 1 })) charges.push(charge.id);
  assert.equal(charges.length, 2);
  await stripe.refunds.create({ charge: charges[0], amount: 500 });
  await assert.rejects(stripe.subscriptions.create({ customer: customer.id, items: [{ price: "price_none" }] }), (error) => {
    assert.equal(error.type, "StripeInvalidRequestError");
    assert.equal(error.statusCode, 400);
    assert.equal(error.param, "items[0][price]");
    return true;
  });
}

async function fail({ price }) {
  const customer = await stripe.customers.create({ email: "bob@example.org" });
  const card = await stripe.paymentMethods.attach("pm_card_chargeCustomerFail", { customer: customer.id });
  await stripe.customers.update(customer.id, { invoice_settings: { default_payment_method: card.id } });
  await assert.rejects(
    stripe.subscriptions.create({
      customer: customer.id,
      items: [{ price: price.id }],
      payment_behavior: "error_if_incomplete",
    }),
    (error) => error.type === "StripeCardError" && error.decline_code === "generic_decline",
  );
  const tried = await stripe.subscriptions.create({
    customer: customer.id,
    items: [{ price: price.id }],
    trial_period_days: 3,
  });
  await control("clock", { advance: "40d" });
  assert.equal((await stripe.subscriptions.retrieve(tried.id)).status, "canceled");
}

async function table(sync, name) {
  const { rows } = await sync.postgresClient.query(`select * from stripe.${name} order by id`);
  return rows;
}

// Row by row: what the engine holds of an object is what the API says of it.
async function compare(sync, name, list) {
  const held = new Map((await table(sync, name)).map((row) => [row.id, row]));
  let seen = 0;
  for await (const thing of list) {
    seen += 1;
    const row = held.get(thing.id);
    if (!row) failed.push({ missing: `${name} ${thing.id}` });
    else if (thing.status !== undefined && row.status !== thing.status) {
      failed.push({ differs: `${name} ${thing.id}: ${row.status}, not ${thing.status}` });
    }
  }
  return seen;
}

const { state, server } = await following();
assert.deepEqual(failed, []);
const sold = await sell();
await change(sold);
await fail(sold);
await stripe.subscriptions.cancel(sold.subscription.id);
while ((await control("flush")).pending) await new Promise((on) => setTimeout(on, 50));
const everything = { limit: 100 };
const lists = {
  customers: stripe.customers.list(everything),
  subscriptions: stripe.subscriptions.list({ ...everything, status: "all" }),
  invoices: stripe.invoices.list(everything),
  products: stripe.products.list(everything),
  prices: stripe.prices.list(everything),
  charges: stripe.charges.list(everything),
  refunds: stripe.refunds.list(everything),
};
const counts = {};
for (const [name, list] of Object.entries(lists)) counts[name] = await compare(state.sync, name, list);
let backfill = null;
try {
  backfill = await state.sync.syncBackfill({ object: "all" });
} catch (error) {
  failed.push({ backfill: String(error.stack ?? error).slice(0, 500) });
}
await state.sync.postgresClient.close();
server.close();
server.closeAllConnections();

console.log(JSON.stringify({ failed, taken: state.taken, counts, backfill, version: Stripe.PACKAGE_VERSION }));
