/** The components beside a real server, in a browser's DOM (jsdom) and rendered on a server. */

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { Paygrade, type Options } from "@paygrade/client";
import { Banner, Gate, PaygradeProvider, PlanPicker, PricingTable, useDecision, useStatus, useUsage } from "@paygrade/react";
import { JSDOM } from "jsdom";
import { StrictMode, type ReactNode } from "react";
import type { Root } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { eventually, KEY, Relay, Server } from "./support.js";

const DECISIONS = "/v1/accounts/{account}/decisions";
const globals = globalThis as unknown as Record<string, unknown>;
let server: Server;
let relay: Relay;
let account: string;
let client: Paygrade;
let root: Root | undefined;
let place: HTMLElement;

before(async () => {
  server = await Server.begin();
  const { window } = new JSDOM("<!doctype html><body></body>");
  const { document, navigator } = window;
  // Newer Nodes have a navigator of their own, which can't be assigned.
  Object.defineProperty(globals, "navigator", { value: navigator, configurable: true });
  Object.assign(globals, { window, document });
});
after(() => server.kill());
beforeEach(async () => {
  account = await server.account();
  relay = await Relay.begin(server.url);
  client = made();
  place = document.body.appendChild(document.createElement("div"));
});
afterEach(async () => {
  root?.unmount();
  root = undefined;
  client.close();
  relay.end();
});

const made = (more: Partial<Options> = {}) =>
  new Paygrade({ url: relay.url, account, getToken: async () => KEY, ...more });

const textOf = (html: string) => html.replaceAll("<!-- -->", "");

/** Wait until this is the DOM's text. */
async function shows(text: string): Promise<void> {
  await eventually(() => place.textContent === text, `"${text}"`).catch((error) => assert.fail(`${error}; there is "${place.textContent}"`));
}

function Exports() {
  const { allowed, reason, loading } = useDecision("exports");
  return loading ? "…" : `${allowed}: ${reason}`;
}

function Calls() {
  const { used, limit, fraction, loading } = useUsage("api_calls");
  return loading ? "…" : `${used} of ${limit} (${fraction})`;
}

function Page({ of = client, children }: { of?: Paygrade; children: ReactNode }) {
  return (
    <StrictMode>
      <PaygradeProvider client={of}>{children}</PaygradeProvider>
    </StrictMode>
  );
}

async function render(page: ReactNode): Promise<void> {
  const { createRoot } = await import("react-dom/client");
  root ??= createRoot(place);
  root.render(page);
}

test("hooks and gates follow a plan change and usage, over one stream and one request for all", async () => {
  const upgrade = (decision: { message: string }) => <b>{decision.message}</b>;
  const page = (
    <Page>
      <Gate feature="exports" fallback={upgrade} loading="wait">
        <i>Export</i>
      </Gate>
      {" | "}
      <Exports />
      {" | "}
      <Calls />
    </Page>
  );
  await render(page);
  await shows(`${account} can't use exports: free@1 doesn't include it | false: not_in_plan | 0 of 1000 (0)`);
  await eventually(() => client.status.state === "connected");
  await eventually(() => relay.count(DECISIONS) === 2);
  assert.equal(relay.count("/v1/stream"), 1);
  assert.equal(await server.streams(), 1);

  await server.buyPro(account);
  await shows("Export | true: plan | 0 of 100000 (0)");
  await server.ask("POST", "/v1/consume", { account, feature: "api_calls", quantity: 500, id: "much" });
  await shows("Export | true: plan | 500 of 100000 (0.005)");

  // Whoever leaves and comes back finds all that is known, without a request.
  const asked = relay.count(DECISIONS);
  await render(null);
  await shows("");
  await render(page);
  await shows("Export | true: plan | 500 of 100000 (0.005)");
  assert.deepEqual([relay.count("/v1/stream"), relay.count(DECISIONS)], [1, asked]);
});

test("a page rendered on the server asks nobody, and is the same in the browser with what was known there", async () => {
  const content = (
    <>
      <Exports /> <Calls /> <Gate feature="exports" fallback="upgrade" children="Export" />
    </>
  );
  assert.equal(textOf(renderToString(<Page>{content}</Page>)), "… … ");
  assert.equal(relay.asked.size, 0);

  await server.buyPro(account);
  await client.refresh();
  const html = renderToString(<Page>{content}</Page>);
  assert.equal(textOf(html), "true: plan 0 of 100000 (0) Export");
  assert.equal(relay.count("/v1/stream"), 0);

  const inBrowser = made({ initial: JSON.parse(JSON.stringify(client.known)) });
  place.innerHTML = html;
  const { hydrateRoot } = await import("react-dom/client");
  const complaints: unknown[] = [];
  const options = { onRecoverableError: (error: unknown) => complaints.push(error) };
  root = hydrateRoot(place, <Page of={inBrowser}>{content}</Page>, options);
  await eventually(() => inBrowser.status.state === "connected", "the stream");
  assert.deepEqual(complaints, []);
  await server.ask("PUT", `/v1/accounts/${account}/blocks/fraud`, {});
  await shows("false: blocked null of null (null) upgrade");
  inBrowser.close();
});

test("a lost server is shown, and what is known stays", async () => {
  function Light() {
    const { state } = useStatus();
    return useDecision("projects").stale ? `${state}, stale` : state;
  }
  const page = (
    <Page>
      <Light /> <Gate feature="projects" fallback="denied" children="Projects" />
    </Page>
  );
  await render(page);
  await shows("connected Projects");
  relay.down = true;
  relay.cut();
  await shows("interrupted, stale Projects");
  relay.down = false;
  await shows("connected Projects");
});

test("another client takes the place of one, and without a provider it is said what is missing", async () => {
  await render(<Page><Exports /></Page>);
  await shows("false: not_in_plan");
  const before = account;
  account = await server.account();
  await server.buyPro(account);
  const other = made();
  await render(<Page of={other}><Exports /></Page>);
  await shows("true: plan");
  await server.buyPro(before);
  await eventually(() => client.decision("exports").allowed);
  await shows("true: plan");
  other.close();
  assert.throws(() => renderToString(<Exports />), /no <PaygradeProvider> above/);
});

test("elements are named with their attributes, on a server too, and tell what was chosen", async () => {
  const shown = renderToString(
    <PricingTable tokenUrl="/token" plans={["pro", "free"]} texts={{ "plan.choose": "Get {plan}" }} askHref="mailto:a@b.example" />,
  );
  assert.equal(
    shown,
    '<paygrade-pricing-table token-url="/token" plans="pro free" ask-href="mailto:a@b.example" text-plan-choose="Get {plan}"></paygrade-pricing-table>',
  );
  assert.equal(renderToString(<Banner about={["trial", "limit"]} from={90} />), '<paygrade-banner for="trial limit" from="90"></paygrade-banner>');
  const { createRoot } = await import("react-dom/client");
  const chosen: string[] = [];
  root = createRoot(place);
  root.render(<PlanPicker name="plan" onChoose={({ plan, interval }) => chosen.push(`${plan} ${interval}`)} />);
  await eventually(() => place.firstElementChild !== null, "the element");
  const { CustomEvent } = (globals["window"] as Window & typeof globalThis);
  await eventually(() => {
    place.firstElementChild?.dispatchEvent(new CustomEvent("paygrade-choose", { detail: { plan: "pro", interval: "month", price: null } }));
    return chosen[0] === "pro month";
  }, "the choice");
});
