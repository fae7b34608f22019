/**
 * Paygrade's custom elements: what an account has, uses and can buy, in any page.
 *
 * Laws: an element shows what the server says and decides nothing; what comes from it is set as text, never as markup;
 * all elements of one token share its requests, its stream and its answers; a fault takes away nothing that is shown.
 */

const BASE = new URL(import.meta.url).origin;
const POLL_S = 60, RETRY_S = [2, 60], AHEAD_S = 30, HIDDEN_S = 120, SOON_MS = 300;
const SVG = "http://www.w3.org/2000/svg";
const given = { token: null, url: null };

/** Say once for all elements of the page where tokens come from: a function that returns one, or a promise of it. */
export function configure({ token = null, tokenUrl = null } = {}) {
  given.token = token;
  given.url = tokenUrl;
  for (const source of sources.values()) source.close();
  sources.clear();
  for (const element of elements) element.connect();
}

// What is known of one account, for however many elements

const sources = new Map(), elements = new Set();

class Source {
  constructor(read) {
    this.read = read;
    this.followers = new Set();
    this.known = { summary: null, plans: null, fault: null };
    this.tries = 0;
    this.seen = () => this.look();
  }

  follow(element) {
    this.followers.add(element);
    if (this.followers.size === 1) {
      document.addEventListener("visibilitychange", this.seen);
      window.addEventListener("online", this.seen);
      this.load();
    } else if (!this.known.plans && element.constructor.plans) this.again(0);
  }

  leave(element) {
    this.followers.delete(element);
    if (this.followers.size === 0) this.close();
  }

  close() {
    document.removeEventListener("visibilitychange", this.seen);
    window.removeEventListener("online", this.seen);
    clearTimeout(this.timer);
    clearTimeout(this.away);
    this.quiet();
    this.isOver = true;
  }

  quiet() {
    this.stream?.close();
    this.stream = null;
  }

  look() {
    clearTimeout(this.away);
    if (document.hidden) this.away = setTimeout(() => this.quiet(), HIDDEN_S * 1000);
    else if (!this.stream) this.again(0);
  }

  again(ms) {
    if (this.isOver) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load(), ms);
  }

  async load() {
    if (this.isLoading) return void (this.isBehind = true);
    this.isLoading = true;
    this.isOver = false;
    try {
      const account = await this.account();
      const wantsPlans = [...this.followers].some((element) => element.constructor.plans);
      if (account !== null) this.known.summary = await this.ask(`/v1/accounts/${encodeURIComponent(account)}/summary`);
      if (wantsPlans) this.known.plans = await this.ask("/v1/plans");
      this.known.fault = null;
      this.tries = 0;
      if (this.isOver) return;
      if (account !== null) this.hear();
      this.again(POLL_S * (this.stream ? 10 : 1) * 1000 * (1 + Math.random() / 5));
    } catch (error) {
      this.known.fault = error.fault ?? "failed";
      this.quiet();
      if (this.known.fault !== "ended") {
        const wait = Math.min(RETRY_S[1], RETRY_S[0] * 2 ** this.tries++);
        this.again(1000 * Math.max(error.after ?? 0, wait * (0.5 + Math.random())));
      }
    } finally {
      this.isLoading = false;
      for (const element of this.followers) element.draw();
      if (this.isBehind) this.again(SOON_MS * Math.random());
      this.isBehind = false;
    }
  }

  /** Whose the token is; null: it is a publishable key, which is nobody's. */
  async account() {
    const now = Date.now() / 1000;
    if (!this.token || this.ends - AHEAD_S < now) await this.renew();
    return this.owner;
  }

  async renew() {
    this.token = await this.read();
    if (!this.token) throw fault("ended");
    const claims = claimsOf(this.token);
    const opens = claims?.scopes?.includes("summary:read") ?? false;
    if (claims && !opens && [...this.followers].some((element) => !element.constructor.plans)) {
      console.error("paygrade: the account token lacks the scope `summary:read`");
    }
    this.owner = opens ? claims.sub : null;
    // By this page's own clock, which need not be the server's: a 401 says the rest.
    this.ends = claims ? Date.now() / 1000 + claims.exp - claims.iat : Infinity;
  }

  async ask(path, isSecond = false) {
    const answer = await fetch(BASE + path, { headers: { authorization: `Bearer ${this.token}` }, credentials: "omit" });
    if (answer.ok) return answer.json();
    if (answer.status === 401 && !isSecond) {
      await this.renew();
      return this.ask(path, true);
    }
    if (answer.status === 403) console.error(`paygrade: ${(await answer.json().catch(() => ({}))).detail ?? path}`);
    throw fault(answer.status === 401 ? "ended" : "failed", answer.headers.get("retry-after"));
  }

  /** Hear of changes as soon as there are any; where no stream comes through, ask now and then. */
  hear() {
    const where = this.known.summary?.event_stream?.endpoint.requestUri;
    if (this.stream || !where || document.hidden) return;
    const stream = (this.stream = new EventSource(BASE + where));
    stream.onmessage = () => this.again(SOON_MS * Math.random());
    stream.onerror = () => {
      if (stream.readyState !== EventSource.CLOSED || this.stream !== stream) return;
      this.quiet();
      this.again(POLL_S * 1000 * (0.5 + Math.random() / 2));
    };
  }
}

function fault(name, after) {
  return Object.assign(new Error(name), { fault: name, after: Number(after) || 0 });
}

function claimsOf(token) {
  const part = token.split(".")[1];
  if (!part) return null;
  const bytes = atob(part.replaceAll("-", "+").replaceAll("_", "/"));
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (each) => each.charCodeAt(0))));
}

async function tokenAt(url) {
  const answer = await fetch(url, { headers: { accept: "application/json, text/plain" } });
  if (!answer.ok) throw fault(answer.status === 401 || answer.status === 403 ? "ended" : "failed");
  const said = (await answer.text()).trim();
  return said.startsWith("{") ? JSON.parse(said).token : said;
}

// Words and figures

const languages = new Map();
// Others go by their code, as on the customers' pages.
const SIGNS = new Set(["usd", "eur", "gbp"]);

function language(name) {
  if (!languages.has(name)) {
    const asked = fetch(`${BASE}/embed/v1/${encodeURIComponent(name)}.json`, { credentials: "omit" });
    languages.set(name, asked.then((answer) => (answer.ok ? answer.json() : Promise.reject(fault("failed")))));
    languages.get(name).catch(() => languages.delete(name));
  }
  return languages.get(name);
}

class Words {
  constructor(texts, own, lang) {
    this.texts = texts;
    this.own = own;
    this.lang = lang;
  }

  say(key, said = {}) {
    let text = this.own(key) ?? this.texts[key] ?? "";
    if (typeof text === "object") text = text[new Intl.PluralRules(this.lang).select(said.count)] ?? text.other;
    return text.replace(/\{(\w+)\}/g, (whole, name) => said[name] ?? whole);
  }

  name(kind, key) {
    const plain = key.replaceAll("_", " ");
    return this.own(`${kind}.${key}`) ?? this.texts[`${kind}.${key}`] ?? plain[0].toUpperCase() + plain.slice(1);
  }

  number(n) {
    return new Intl.NumberFormat(this.lang).format(n);
  }

  percent(part) {
    return new Intl.NumberFormat(this.lang, { style: "percent", maximumFractionDigits: 0 }).format(part);
  }

  date(text) {
    return new Intl.DateTimeFormat(this.lang, { day: "numeric", month: "long" }).format(new Date(text));
  }

  money(amount, currency) {
    const style = { style: "currency", currency: currency.toUpperCase(), currencyDisplay: SIGNS.has(currency) ? "narrowSymbol" : "code" };
    const digits = new Intl.NumberFormat(this.lang, style).resolvedOptions().maximumFractionDigits;
    const whole = amount / 10 ** digits;
    const least = Number.isInteger(whole) ? 0 : digits;
    return new Intl.NumberFormat(this.lang, { ...style, minimumFractionDigits: least }).format(whole);
  }

  per({ interval, interval_count: count = 1 }) {
    return count === 1 ? this.say(`per.${interval}`) : this.say(`every.${interval}`, { n: count });
  }

  /** What a plan gives of one feature, on one line; null: nothing worth one. */
  term(term, its) {
    const feature = this.name("feature", term.feature);
    if (term.term === "switch") return term.on ? feature : null;
    if (term.term === "setting") return this.say("term.units", { feature, n: this.value(term.value, its) });
    if (term.by_quantity && term.units === 1) return this.say("term.as_bought", { feature });
    if (term.units === 0) return null;
    const every = term.recurrence?.every;
    const per = every && this.texts[`per.${every}`] ? ` ${this.say(`per.${every}`)}` : "";
    const n = term.units === null ? this.say("unlimited") : this.number(term.units) + per;
    return this.say("term.units", { feature, n: term.adds ? `+${n}` : n });
  }

  value(value, its) {
    if (typeof value === "boolean") return this.say(value ? "yes" : "no");
    if (typeof value !== "number") return String(value);
    const units = { second: "second", minute: "minute", hour: "hour", day: "day", month: "month", year: "year",
      megabyte: "megabyte", gigabyte: "gigabyte", terabyte: "terabyte" };
    if (!units[its?.unit]) return this.number(value);
    return new Intl.NumberFormat(this.lang, { style: "unit", unit: its.unit, unitDisplay: "long" }).format(value);
  }
}

// Building blocks

function h(tag, props = {}, ...children) {
  const made = tag === "svg" || tag === "rect" ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child != null && child !== false));
  return made;
}

function bar(part, label, isCalm = false) {
  const mark = isCalm ? "" : part >= 1 ? "stop" : part >= 0.8 ? "wait" : "";
  const width = `${Math.min(100, Math.max(0, part * 100)).toFixed(1)}%`;
  return h("svg", { class: `bar ${mark}`, part: "bar", role: "img", "aria-label": label },
    h("rect", { width, height: "100%" }));
}

const sheet = new CSSStyleSheet();
sheet.replaceSync(`
:host { display: block; font: var(--paygrade-font, inherit); color: var(--paygrade-ink, inherit);
  --act: var(--paygrade-act, light-dark(#0b66d6, #88b6fa)); --on-act: var(--paygrade-on-act, light-dark(#fff, #101316));
  --wait: var(--paygrade-wait, light-dark(#c27c0e, #eea743)); --stop: var(--paygrade-stop, light-dark(#d33a3c, #e8605b));
  --ink-2: var(--paygrade-ink-2, light-dark(#50565d, #aeb1b6)); --line: var(--paygrade-line, light-dark(#e2e4e7, #33373d));
  --track: var(--paygrade-track, light-dark(#e0e3e7, #2a2e33)); --fill: var(--paygrade-fill, light-dark(#545f6c, #9ca5b1));
  --paper: var(--paygrade-paper, transparent); --radius: var(--paygrade-radius, 8px); }
:host([hidden]) { display: none; }
p, ul, h3, dl, dd, fieldset { margin: 0; padding: 0; border: 0; }
ul { list-style: none; }
.quiet, small { color: var(--ink-2); font-size: .875em; font-weight: 400; }
.uses { display: grid; gap: 16px 32px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 220px), 1fr)); }
.use { display: grid; grid-template-columns: 1fr auto; gap: 4px 12px; align-items: baseline; }
.use b { font-weight: 600; } .use .wide { grid-column: 1 / -1; }
.bar { grid-column: 1 / -1; display: block; width: 100%; height: 8px; border-radius: 4px; background: var(--track); }
.bar rect { fill: var(--fill); } .bar.wait rect { fill: var(--wait); } .bar.stop rect { fill: var(--stop); }
.plans { display: grid; gap: 16px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 200px), 1fr)); }
.plan { display: flex; flex-direction: column; gap: 12px; border: 1px solid var(--line); border-radius: var(--radius);
  padding: 20px; background: var(--paper); }
.plan.on { border-color: var(--act); box-shadow: inset 0 0 0 1px var(--act); }
.plan h3 { font-size: 1em; font-weight: 600; } .plan ul { display: grid; gap: 6px; flex: 1; align-content: start; }
.price { font-size: 1.6em; font-weight: 600; line-height: 1.2; } .price small { font-size: .55em; display: block; }
.btn { font: inherit; font-weight: 500; text-align: center; text-decoration: none; cursor: pointer; padding: 8px 14px;
  border: 1px solid var(--act); border-radius: calc(var(--radius) * .75); background: var(--act); color: var(--on-act); }
.btn:focus-visible, input:focus-visible, label:focus-within { outline: 2px solid var(--act); outline-offset: 2px; }
.switch { display: flex; flex-wrap: wrap; gap: 4px 16px; margin-bottom: 16px; }
.pick { display: flex; gap: 12px; align-items: baseline; padding: 12px 16px; border: 1px solid var(--line);
  border-radius: var(--radius); background: var(--paper); } .pick + .pick { margin-top: 8px; }
.pick:has(:checked) { border-color: var(--act); } .pick b { flex: 1; font-weight: 600; } input { accent-color: var(--act); }
.note { display: flex; flex-wrap: wrap; gap: 4px 16px; padding: 12px 16px; border-radius: var(--radius);
  border: 1px solid var(--line); border-inline-start: 4px solid var(--mark, var(--act)); background: var(--paper); }
.note.wait { --mark: var(--wait); } .note.stop { --mark: var(--stop); } .note p { flex: 1 1 16em; }
.sr { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
`);

/** What all have in common. `render` returns what is shown, or null for nothing. */
class Element extends HTMLElement {
  static needs = "summary";
  static observedAttributes = ["token", "token-url", "lang"];

  constructor() {
    super();
    this.attachShadow({ mode: "open" }).adoptedStyleSheets = [sheet];
  }

  connectedCallback() {
    elements.add(this);
    this.connect();
  }

  disconnectedCallback() {
    elements.delete(this);
    this.source?.leave(this);
    this.source = null;
  }

  attributeChangedCallback(name, before, after) {
    if (!this.isConnected || before === after) return;
    if (name.startsWith("token")) this.connect();
    else this.draw();
  }

  connect() {
    const token = this.getAttribute("token"), url = this.getAttribute("token-url") ?? (token || given.token ? null : given.url);
    const key = token ? `token ${token}` : url ? `url ${url}` : "page";
    if (key === "page" && !given.token) return void this.draw();
    let source = sources.get(key);
    if (!source || source.isOver) {
      const read = token ? () => token : url ? () => tokenAt(url) : given.token;
      sources.set(key, (source = new Source(async () => read())));
    }
    if (source === this.source) return;
    this.source?.leave(this);
    this.source = source;
    source.follow(this);
    this.draw();
  }

  async draw() {
    const lang = this.closest("[lang]")?.lang || navigator.language || "en";
    let texts = null;
    try {
      texts = await language(lang);
    } catch {
      setTimeout(() => this.isConnected && this.draw(), RETRY_S[0] * 1000);
      return;
    }
    const own = (key) => this.getAttribute(`text-${key.replaceAll(/[._]/g, "-")}`);
    const words = new Words(texts, own, lang), known = this.source?.known ?? {};
    const has = known[this.constructor.needs];
    const state = has ? "ready" : known.fault ?? "loading";
    if (this.state !== state && state === "ended") this.tell("ended");
    this.state = state;
    const stale = has && known.fault ? " stale" : "";
    const shown = has ? this.render(has, words, known) : this.wait(state, words);
    this.setAttribute("state", state + stale);
    const focused = this.shadowRoot.activeElement?.dataset.key;
    this.shadowRoot.replaceChildren(...(shown === null ? [] : [shown].flat()));
    if (focused) [...this.shadowRoot.querySelectorAll("[data-key]")].find((each) => each.dataset.key === focused)?.focus();
  }

  wait(state, words) {
    return h("slot", { name: state }, h("p", { class: "quiet", role: "status" }, words.say(state)));
  }

  tell(name, detail = {}) {
    return this.dispatchEvent(new CustomEvent(`paygrade-${name}`, { detail, bubbles: true, composed: true, cancelable: true }));
  }

  list(name) {
    return (this.getAttribute(name) ?? "").split(/[\s,]+/).filter(Boolean);
  }
}

function taken(use) {
  return (use.used ?? 0) + (use.reserved ?? 0);
}

/** A limit, how much of it is taken, and when there is more. */
function meter(use, words) {
  const name = words.name("feature", use.feature), used = words.number(taken(use));
  if (use.limit === null) {
    const all = use.unlimited ? ` (${words.say("unlimited")})` : "";
    return h("div", { class: "use", part: "use" }, h("b", {}, name), h("span", {}, words.say("use.used", { used }) + all));
  }
  const of = words.say("use.of", { used, limit: words.number(use.limit) }), left = use.limit - taken(use);
  const more = left > 0 ? words.say("use.left", { n: words.number(left) })
    : left === 0 ? words.say("use.full", { limit: words.number(use.limit) }) : words.say("use.over", { n: words.number(-left) });
  const resets = use.resets_at ? `; ${words.say("use.resets", { date: words.date(use.resets_at) })}` : "";
  return h("div", { class: "use", part: "use" }, h("b", {}, name), h("span", {}, of),
    bar(use.limit ? taken(use) / use.limit : 1, `${name}: ${of}`), h("span", { class: "quiet wide" }, more + resets));
}

class Usage extends Element {
  static observedAttributes = [...Element.observedAttributes, "features"];

  render({ features }, words) {
    const named = this.list("features");
    const counted = (use) => ["metered", "level"].includes(use.its.kind) && !use.its.in_seats && !use.credit &&
      (use.limit !== null || use.unlimited);
    const shown = named.length ? named.map((key) => features.find((use) => use.feature === key)).filter(Boolean) : features.filter(counted);
    if (!shown.length) return h("p", { class: "quiet" }, words.say("use.none"));
    return h("div", { class: "uses", part: "uses" }, shown.map((use) => meter(use, words)));
  }
}

class Credits extends Element {
  static observedAttributes = [...Element.observedAttributes, "credits"];

  render({ features }, words) {
    const named = this.list("credits");
    const shown = features.filter((use) => use.its.kind === "credit" && (!named.length || named.includes(use.feature)));
    return h("div", { class: "uses", part: "uses" }, shown.map((use) => this.credit(use, words)));
  }

  credit(use, words) {
    const name = words.name("feature", use.feature), left = use.unlimited ? words.say("unlimited") : words.number(use.remaining ?? 0);
    const grants = use.granted.filter((one) => one.left > 0).map((one) => {
      const said = { n: words.number(one.left), date: one.until && words.date(one.until) };
      return h("li", {}, words.say(one.asleep ? "credits.asleep" : one.until ? "credits.until" : "credits.forever", said));
    });
    const gauge = use.limit ? bar(taken(use) / use.limit, `${name}: ${words.say("use.left", { n: left })}`) : null;
    return h("div", { class: "use", part: "use" }, h("b", {}, name), h("span", {}, words.say("use.left", { n: left })),
      gauge, h("ul", { class: "quiet wide" }, grants));
  }
}

class Seats extends Element {
  render({ seats }, words) {
    if (!seats) return null;
    const { units, taken: number, suspended } = seats, free = units === null ? null : Math.max(0, units - number);
    const of = units === null ? words.say("seats.taken", { taken: words.number(number) })
      : words.say("seats.of", { taken: words.number(number), units: words.number(units) });
    const left = free === null ? null : free ? words.say("seats.free", { n: words.number(free), count: free }) : words.say("seats.none");
    return h("div", { class: "use", part: "use" }, h("b", {}, words.say("seats")), h("span", {}, of),
      units === null ? null : bar(units ? number / units : 1, of, !suspended),
      h("span", { class: "quiet wide" }, suspended ? words.say("seats.suspended", { n: words.number(suspended), count: suspended }) : left));
  }
}

class Gate extends Element {
  static observedAttributes = [...Element.observedAttributes, "feature"];

  render({ features }) {
    const use = features.find((each) => each.feature === this.getAttribute("feature"));
    const allowed = use?.allowed ?? false;
    if (this.allowed !== allowed) this.tell("decision", { feature: use?.feature, allowed, reason: use?.reason ?? "unknown_feature" });
    this.allowed = allowed;
    this.toggleAttribute("allowed", allowed);
    return h("slot", { name: allowed ? false : "denied" });
  }

  wait() {
    return h("slot", { name: "loading" });
  }
}

class Banner extends Element {
  static observedAttributes = [...Element.observedAttributes, "for", "from"];

  wait() {
    return null;
  }

  render(summary, words) {
    const wanted = this.list("for"), about = (kind) => !wanted.length || wanted.includes(kind);
    const found = [about("past_due") && overdue(summary, words), about("limit") && limit(summary, words, Number(this.getAttribute("from") ?? 80)),
      about("trial") && trial(summary, words)].find(Boolean);
    if (!found) return null;
    return h("div", { class: `note ${found.mark}`, part: "note", role: "status" }, h("p", {}, found.text), h("slot", { name: "action" }));
  }
}

function overdue({ subscriptions }, words) {
  const its = subscriptions.find((one) => one.unpaid_since || one.state === "paused");
  if (!its) return null;
  if (its.state === "paused") return { mark: "stop", text: words.say("banner.paused") };
  const again = its.next_attempt_at ? ` ${words.say("banner.retry", { date: words.date(its.next_attempt_at) })}` : "";
  if (its.access === "full" && its.access_until) return { mark: "wait", text: words.say("banner.grace", { date: words.date(its.access_until) }) + again };
  return { mark: "stop", text: words.say(its.access === "read" ? "banner.read" : "banner.overdue") + again };
}

function limit({ features }, words, from) {
  const near = features.filter((use) => use.limit && !use.credit && !use.its.in_seats && use.its.kind !== "credit" && 100 * taken(use) >= from * use.limit);
  const [worst] = near.sort((a, b) => taken(b) / b.limit - taken(a) / a.limit);
  if (!worst) return null;
  const feature = words.name("feature", worst.feature), part = taken(worst) / worst.limit;
  if (part >= 1) return { mark: "stop", text: words.say("banner.full", { feature, limit: words.number(worst.limit) }) };
  return { mark: "wait", text: words.say("banner.limit", { feature, percent: words.percent(part) }) };
}

function trial({ subscriptions }, words) {
  const ends = subscriptions.map((one) => one.trial_ends_at).filter(Boolean).sort()[0];
  return ends ? { mark: "act", text: words.say("banner.trial", { date: words.date(ends) }) } : null;
}

/** What the two that show plans have in common: which, for which interval, and what they cost. */
class Plans extends Element {
  static needs = "plans";
  static plans = true;
  static observedAttributes = [...Element.observedAttributes, "plans", "interval"];

  shown(plans) {
    const named = this.list("plans");
    return named.length ? named.map((key) => plans.find((one) => one.plan === key)).filter(Boolean) : plans;
  }

  intervals(plans) {
    return [...new Set(plans.flatMap((one) => one.prices.map((price) => price.interval)))];
  }

  chosen(plans) {
    const all = this.intervals(plans), wanted = this.getAttribute("interval");
    return all.includes(wanted) ? wanted : all[0];
  }

  switch(plans, words) {
    const all = this.intervals(plans), now = this.chosen(plans);
    if (all.length < 2) return null;
    return h("fieldset", { class: "switch" }, h("legend", { class: "sr" }, words.say("interval")), all.map((each) =>
      h("label", {}, h("input", { type: "radio", name: "interval", "data-key": `interval ${each}`, checked: each === now,
        onchange: () => this.setAttribute("interval", each) }), " ", words.say(`interval.${each}`))));
  }

  prices(plan, interval) {
    const its = plan.prices.filter((price) => price.interval === interval);
    return its.length || !plan.prices.length ? its : plan.prices.filter((price) => price.interval === plan.prices[0].interval);
  }

  cost(plan, interval, words) {
    const its = this.prices(plan, interval), terms = Object.values(plan.terms);
    const by = terms.find((term) => term.by_quantity), flat = its.find((price) => price.part === "flat");
    const each = its.find((price) => price.part === "quantity"), main = flat ?? each;
    if (!main) return [words.say(plan.default || its.length ? "price.free" : "price.ask")];
    const per = [words.per(main)], seat = this.features?.[by?.feature]?.in_seats ? words.say("price.seat") : words.say("price.unit");
    if (by && main === each) per.unshift(seat);
    if (flat && each) per.push(`+ ${words.money(each.amount, each.currency)} ${seat}`);
    if (its.some((price) => price.part === "usage")) per.push(words.say("price.usage"));
    return [words.money(main.amount, main.currency), " ", h("small", {}, per.join(" "))];
  }

  current(known) {
    return known.summary?.plan?.split("@")[0] ?? null;
  }

  choose(plan, interval) {
    this.tell("choose", { plan: plan.plan, interval, price: this.prices(plan, interval)[0]?.key ?? null });
  }
}

class PricingTable extends Plans {
  static observedAttributes = [...Plans.observedAttributes, "href", "ask-href"];

  render({ plans, features }, words, known) {
    this.features = features;
    const shown = this.shown(plans), interval = this.chosen(shown), current = this.current(known);
    return [this.switch(shown, words), h("ul", { class: "plans", part: "plans", "aria-label": words.say("plans") },
      shown.map((plan) => this.plan(plan, interval, current, words)))].filter(Boolean);
  }

  plan(plan, interval, current, words) {
    const name = words.name("plan", plan.plan), its = plan.plan === current;
    const lines = Object.values(plan.terms).map((term) => words.term(term, this.features[term.feature])).filter(Boolean);
    return h("li", { class: its ? "plan on" : "plan", part: its ? "plan current" : "plan", "aria-current": its && "true" },
      h("h3", {}, name, its ? h("small", {}, ` ${words.say("plan.yours")}`) : ""),
      h("p", { class: "price", part: "price" }, this.cost(plan, interval, words)),
      plan.description ? h("p", { class: "quiet" }, plan.description) : null,
      plan.trial_days && !its ? h("p", { class: "quiet" }, words.say("plan.trial", { n: plan.trial_days, count: plan.trial_days })) : null,
      h("ul", {}, lines.map((line) => h("li", {}, line))),
      its ? null : this.button(plan, interval, name, words));
  }

  button(plan, interval, name, words) {
    const asks = !plan.default && !plan.prices.length, key = `plan ${plan.plan}`;
    const where = this.getAttribute(asks ? "ask-href" : "href")?.replaceAll("{plan}", encodeURIComponent(plan.plan)).replaceAll("{interval}", interval ?? "");
    const said = words.say(asks ? "plan.ask" : "plan.choose", { plan: name });
    const safe = where && /^(https?:|mailto:)/.test(new URL(where, location.href).href) ? where : null;
    if (safe) return h("a", { class: "btn", part: "button", href: safe, "data-key": key }, said);
    return h("button", { class: "btn", part: "button", type: "button", "data-key": key, onclick: () => this.choose(plan, interval) }, said);
  }
}

class PlanPicker extends Plans {
  static formAssociated = true;

  constructor() {
    super();
    this.internals = this.attachInternals();
  }

  get value() {
    return this.picked ?? "";
  }

  set value(plan) {
    this.picked = plan;
    this.draw();
  }

  render({ plans, features }, words, known) {
    this.features = features;
    const shown = this.shown(plans).filter((plan) => plan.default || plan.prices.length), interval = this.chosen(shown);
    this.picked ??= this.getAttribute("value") ?? this.current(known) ?? shown[0]?.plan;
    this.internals.setFormValue(this.picked ?? null);
    return [this.switch(shown, words), h("fieldset", { part: "plans" }, h("legend", { class: "sr" }, words.say("plans")),
      shown.map((plan) => h("label", { class: "pick", part: "plan" },
        h("input", { type: "radio", name: "plan", value: plan.plan, "data-key": `plan ${plan.plan}`, checked: plan.plan === this.picked,
          onchange: () => this.pick(plan, interval) }),
        h("b", {}, words.name("plan", plan.plan)), h("span", {}, this.cost(plan, interval, words)))))].filter(Boolean);
  }

  pick(plan, interval) {
    this.picked = plan.plan;
    this.internals.setFormValue(plan.plan);
    this.choose(plan, interval);
  }
}

for (const [name, kind] of Object.entries({ "pricing-table": PricingTable, "plan-picker": PlanPicker, usage: Usage, credits: Credits,
  seats: Seats, banner: Banner, gate: Gate })) {
  if (!customElements.get(`paygrade-${name}`)) customElements.define(`paygrade-${name}`, kind);
}
