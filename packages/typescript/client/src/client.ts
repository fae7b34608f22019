/**
 * What one account may do, remembered and kept current: asked for in one request, and again when an answer ends or the
 * server's stream tells of a change. Nothing is decided here.
 *
 * Laws: a fault never erases what is known; what is known to end, ends on time, also while the server is away; there is
 * one stream a client; an older answer never replaces a newer one; as long as a decision reads the same, it is the same
 * object.
 */

import { Backoff } from "./backoff.js";
import { ServerClock } from "./clock.js";
import { madeUp, readKnown, type Answer, type Decision, type Known, type OnError } from "./decision.js";
import { Stream } from "./stream.js";
import { describe, PaygradeError, Transport, type Fetch, type GetToken } from "./transport.js";

/** How often counts are asked for at most; other changes at once. */
const PACE_MS = 1_000;
const READ_MS = 10_000;
const LOOK_MS = 3_600_000;

export interface Options {
  /** The server's address. */
  url: string;
  /** The account that is asked about. */
  account: string;
  /** The member who asks, for features with roles or seats. */
  member?: string;
  /** Gives a token of the account; asked before one ends, and when the server refuses it. */
  getToken: GetToken;
  /** What a feature answers while nothing is known of it; `deny` unless you say otherwise. */
  onError?: Record<string, OnError>;
  /** What to begin with: the `known` of a client on your server, so that a page is whole at once. */
  initial?: Known | undefined;
  fetch?: Fetch;
}

/** `off`: not started, or closed; `connecting`: for the first time; `interrupted`: the server can't be heard. */
export type State = "off" | "connecting" | "connected" | "interrupted";

export interface Status {
  state: State;
  /** For how many seconds the server has not been heard. */
  age: number;
  /** The last fault, in words. */
  detail: string;
}

export interface Question {
  quantity?: number;
  member?: string;
  properties?: Record<string, string | number | boolean>;
}

export class Paygrade {
  readonly account: string;
  readonly #member: string | undefined;
  readonly #onError: Record<string, OnError>;
  readonly #clock = new ServerClock();
  readonly #transport: Transport;
  readonly #backoff = new Backoff();
  readonly #listeners = new Set<() => void>();
  readonly #answers = new Map<string, { round: number; answer: Answer }>();
  #stream: Stream | undefined;
  #state: State = "off";
  #detail = "";
  #closed = false;

  #known: Known | undefined;
  #isUnknown = false;
  #loading = true;
  /** What is known may be outdated: the server can't be heard, or could not be asked. */
  #stale = false;
  #round = 0;

  #reading = false;
  #again = false;
  #begun = 0;
  #taken = 0;
  #readAt = -Infinity;
  #soon: ReturnType<typeof setTimeout> | undefined;
  #due: ReturnType<typeof setTimeout> | undefined;

  constructor(options: Options) {
    this.account = options.account;
    this.#member = options.member;
    this.#onError = options.onError ?? {};
    const send: Fetch = options.fetch ?? ((address, init) => fetch(address, init));
    this.#transport = new Transport(options.url, options.getToken, send, () => this.#clock.now());
    const initial = options.initial && readKnown(options.initial);
    // What is known of another account, as by a page out of some cache, is not this one's.
    if (initial?.account === this.account) this.#take(initial, 0);
  }

  /** May the account use one more unit, as far as is known? Answers at once, and asks nobody. */
  decision(feature: string): Answer {
    const kept = this.#answers.get(feature);
    if (kept?.round === this.#round) return kept.answer;
    const made = this.#answer(feature);
    const answer = kept !== undefined && reads(kept.answer) === reads(made) ? kept.answer : made;
    this.#answers.set(feature, { round: this.#round, answer });
    return answer;
  }

  /**
   * Ask the server about a use in particular. While it can't be reached, the answer is what is known, or the default.
   * Throws PaygradeError where the server refuses the question.
   */
  async check(feature: string, question: Question = {}): Promise<Decision> {
    const { quantity = 1, member = this.#member, properties } = question;
    const asked = { account: this.account, feature, quantity, member, properties };
    const init = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(asked) };
    try {
      return (await this.#transport.json("/v1/check", { ...init, signal: AbortSignal.timeout(READ_MS) })) as Decision;
    } catch (error) {
      if (error instanceof PaygradeError && error.status >= 400 && error.status < 500) throw error;
      const isKnown = quantity === 1 && properties === undefined && member === this.#member;
      return isKnown ? { ...this.decision(feature), stale: true, exact: false } : this.#default(feature, quantity);
    }
  }

  /** What the server answered last; `initial` of another client. */
  get known(): Known | undefined {
    return this.#known;
  }

  get status(): Status {
    return { state: this.#state, age: this.#age(), detail: this.#detail };
  }

  /** Call `listener` whenever an answer or the status may have changed; call what is given back to end that. */
  readonly subscribe = (listener: () => void): (() => void) => {
    // Whoever gives the same function twice is called twice.
    const own = () => listener();
    this.#listeners.add(own);
    this.start();
    return () => this.#listeners.delete(own);
  };

  /** Connect, once: the answers are asked for, and changes are followed until `close`. */
  start(): void {
    if (this.#closed || this.#stream !== undefined) return;
    this.#state = "connecting";
    this.#stream = new Stream(this.account, this.#transport, this.#clock, {
      connected: (resumed) => this.#connected(resumed),
      changed: (counted) => (counted ? this.#askSoon() : this.#ask()),
      beat: () => this.#look(),
      lost: (detail, blocked) => {
        this.#lose("interrupted", detail);
        // Something on the way lets no stream through: then all there is to do is to ask now and then.
        if (blocked) this.#askSoon();
      },
    });
    if (this.#known === undefined) this.#ask();
  }

  /** Connect, and wait until the first answers are there, or it is clear that they can't be had now. */
  async ready(): Promise<void> {
    if (!this.#loading) return this.start();
    await new Promise<void>((resolve) => {
      const leave = this.subscribe(() => {
        if (this.#loading) return;
        leave();
        resolve();
      });
      if (this.#closed) resolve();
    });
  }

  /** Ask for all answers now, also without a stream. Throws PaygradeError; what is known stays. */
  async refresh(): Promise<void> {
    const number = ++this.#begun;
    this.#readAt = Date.now();
    clearTimeout(this.#soon);
    this.#soon = undefined;
    const query = this.#member === undefined ? "" : `?member=${encodeURIComponent(this.#member)}`;
    const path = `/v1/accounts/${encodeURIComponent(this.account)}/decisions${query}`;
    try {
      const answer = await this.#transport.json(path, { signal: AbortSignal.timeout(READ_MS) });
      this.#take(readKnown(answer), number);
    } catch (error) {
      if (error instanceof PaygradeError && error.code === "unknown_account") return this.#take(undefined, number);
      this.#loading = false;
      this.#stale = true;
      this.#detail = describe(error);
      this.#changed();
      throw error;
    }
  }

  /** End the stream. What is known stays, and is stale from now on. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stream?.close();
    clearTimeout(this.#soon);
    clearTimeout(this.#due);
    this.#loading = false;
    this.#lose("off", "closed");
    this.#listeners.clear();
  }

  // Answers

  #answer(feature: string): Answer {
    const decision = this.#decision(feature);
    const stale = decision.stale || this.#stale;
    const age = () => (this.#known === undefined && !this.#isUnknown ? Infinity : this.#age());
    return {
      ...decision,
      loading: this.#loading,
      stale,
      exact: decision.exact && !stale,
      get age() {
        return age();
      },
    };
  }

  #decision(feature: string): Decision {
    if (this.#isUnknown) return madeUp(this.account, feature, 1, "unknown_account", false);
    if (this.#known === undefined) return this.#default(feature, 1);
    const decision = this.#known.decisions[feature];
    if (decision === undefined) return madeUp(this.account, feature, 1, "unknown_feature", false);
    // While the server is heard, its next answer is here in a moment.
    return this.#stale && this.#endOf(feature) <= this.#clock.now() ? this.#default(feature, 1) : decision;
  }

  #default(feature: string, quantity: number): Decision {
    return madeUp(this.account, feature, quantity, "stale", this.#onError[feature] === "allow");
  }

  #endOf(feature: string): number {
    return Date.parse(this.#known?.until[feature] ?? "") || Infinity;
  }

  #age(): number {
    return this.#stale ? Math.max(0, (Date.now() - this.#clock.heardAt) / 1_000) : 0;
  }

  #changed(): void {
    this.#round += 1;
    for (const listener of [...this.#listeners]) {
      try {
        listener();
      } catch (error) {
        // Whatever a listener does, the others are called, and the stream goes on.
        console.error(error);
      }
    }
  }

  // What the stream tells

  #connected(resumed: boolean): void {
    this.#state = "connected";
    this.#detail = "";
    // Whoever missed nothing has nothing to ask for, unless that is being done.
    if (!resumed || this.#known === undefined) this.#ask();
    else if (!this.#reading) this.#stale = false;
    this.#changed();
    this.#look();
  }

  #lose(state: State, detail: string): void {
    this.#state = state;
    this.#detail = detail;
    this.#stale = true;
    this.#changed();
    this.#look();
  }

  // Asking

  /** Have the answers read, and once more where something is told while they are. */
  #ask(): void {
    this.#again = true;
    if (!this.#reading) void this.#readOn();
  }

  async #readOn(): Promise<void> {
    this.#reading = true;
    while (this.#again && !this.#closed) {
      this.#again = false;
      try {
        await this.refresh();
        this.#backoff.succeeded();
      } catch (error) {
        this.#again = true;
        await this.#stream?.pause(this.#backoff.waitMs(error instanceof PaygradeError ? error.retryAfterMs : 0));
      }
    }
    this.#reading = false;
  }

  #askSoon(): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      this.#ask();
    }, Math.max(0, this.#readAt + PACE_MS - Date.now()));
  }

  /** Take in what was answered to the request of this number; `undefined`: there is no such account. */
  #take(known: Known | undefined, number: number): void {
    if (number < this.#taken || this.#closed) return;
    this.#taken = number;
    this.#isUnknown = known === undefined;
    this.#known = known;
    this.#loading = false;
    this.#stale = this.#state === "interrupted";
    if (number > 0 && !this.#stale) this.#clock.heardAt = Date.now();
    this.#changed();
    this.#look();
  }

  /** Ask again where an answer has ended, and look again when the next one does. */
  #look(): void {
    clearTimeout(this.#due);
    if (this.#closed || this.#stream === undefined || this.#known === undefined) return;
    const now = this.#clock.now();
    const ends = Object.keys(this.#known.decisions).map((feature) => this.#endOf(feature));
    if (ends.some((end) => end <= now)) {
      if (this.#stale) this.#changed();
      else this.#askSoon();
    }
    const next = Math.min(...ends.filter((end) => end > now));
    if (this.#clock.goesOn && next < Infinity) {
      this.#due = setTimeout(() => this.#look(), Math.min(LOOK_MS, next - now + 10));
    }
  }
}

/** What of an answer makes a difference: `as_of` moves on although nothing has changed. */
function reads(answer: Answer): string {
  return JSON.stringify({ ...answer, as_of: "", age: 0 });
}
