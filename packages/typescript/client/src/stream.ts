/**
 * The server's stream of what changes, followed until `close`: one connection at a time, and a new one after each end.
 *
 * Laws: who hears nothing for 2.5 beats has lost the server; what can't be read ends the connection, and is not resumed;
 * a token is replaced before it ends without a fault; nobody waits longer once the browser is online or the page shown.
 */

import { Backoff } from "./backoff.js";
import type { ServerClock } from "./clock.js";
import { EventReader } from "./events.js";
import { describe, PaygradeError, type Transport } from "./transport.js";

/** A timer can't be set for longer than some weeks; no token is that old. */
const TOKEN_MAX_MS = 86_400_000;
/** A connection lasts that long at least, however soon its token ends. */
const RENEW_MS = 1_000;

export interface Follower {
  /** The stream runs. `resumed`: whether nothing was missed. */
  connected(resumed: boolean): void;
  /** Something changed; `counted`: only how much is used. */
  changed(counted: boolean): void;
  /** The server told the time. */
  beat(): void;
  /** The connection is lost. `blocked`: the server was reached, but its stream was not. */
  lost(detail: string, blocked: boolean): void;
}

export class Stream {
  readonly #path: string;
  readonly #transport: Transport;
  readonly #clock: ServerClock;
  readonly #follower: Follower;
  readonly #backoff = new Backoff();
  readonly #waits = new Waits();
  #connection: AbortController | undefined;
  #lastId: string | undefined;
  #closed = false;

  constructor(account: string, transport: Transport, clock: ServerClock, follower: Follower) {
    this.#path = `/v1/stream?accounts=${encodeURIComponent(account)}`;
    this.#transport = transport;
    this.#clock = clock;
    this.#follower = follower;
    this.#listenToPage("addEventListener");
    void this.#follow();
  }

  close(): void {
    this.#closed = true;
    this.#listenToPage("removeEventListener");
    this.#connection?.abort(new Error("closed"));
    this.#waits.end();
  }

  /** Wait for that long, or until the browser is online again or the page shown. */
  pause(waitMs: number): Promise<void> {
    return this.#closed ? Promise.resolve() : this.#waits.begin(waitMs);
  }

  async #follow(): Promise<void> {
    while (!this.#closed) {
      try {
        await this.#connect();
      } catch (error) {
        if (this.#closed) return;
        this.#follower.lost(describe(error), error instanceof Blocked);
        await this.pause(this.#backoff.waitMs(error instanceof PaygradeError ? error.retryAfterMs : 0));
      }
    }
  }

  /** Follow one connection to its end. Throws where that is a fault; returns where the token had to be replaced. */
  async #connect(): Promise<void> {
    const connection = (this.#connection = new AbortController());
    const timers: { silence?: ReturnType<typeof setTimeout>; renewal?: ReturnType<typeof setTimeout> } = {};
    let renews = false;
    const heard = () => {
      clearTimeout(timers.silence);
      const silent = () => connection.abort(new Blocked("nothing was heard for too long"));
      timers.silence = setTimeout(silent, this.#clock.silenceMs);
    };
    try {
      heard();
      const headers = { accept: "text/event-stream", ...(this.#lastId && { "last-event-id": this.#lastId }) };
      const answer = await this.#transport.ask(this.#path, { headers, signal: connection.signal });
      if (answer.body === null || !answer.headers.get("content-type")?.startsWith("text/event-stream")) {
        throw new Blocked("the answer is not a stream");
      }
      if (this.#transport.renewInMs < TOKEN_MAX_MS) {
        const renew = () => connection.abort((renews = true));
        timers.renewal = setTimeout(renew, Math.max(RENEW_MS, this.#transport.renewInMs));
      }
      await this.#read(answer.body, heard);
    } catch (error) {
      if (!renews || this.#closed) throw connection.signal.aborted ? connection.signal.reason : error;
    } finally {
      clearTimeout(timers.silence);
      clearTimeout(timers.renewal);
      connection.abort();
    }
  }

  async #read(body: ReadableStream<Uint8Array>, heard: () => void): Promise<never> {
    const [reader, text, events] = [body.getReader(), new TextDecoder(), new EventReader()];
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new Error("the stream ended");
      heard();
      try {
        for (const event of events.read(text.decode(value, { stream: true }))) this.#hear(event.name, event.data);
      } catch (error) {
        this.#lastId = undefined;
        throw error;
      }
      this.#lastId = events.id ?? this.#lastId;
      this.#backoff.firstMs = events.retryMs ?? this.#backoff.firstMs;
    }
  }

  #hear(name: string, data: string): void {
    // The rest is for who decides by himself, or of a newer server.
    if (name !== "hello" && name !== "news" && name !== "beat") return;
    const told = Object(JSON.parse(data)) as Record<string, unknown>;
    if (name === "news") {
      this.#clock.heardAt = Date.now();
      this.#follower.changed(told["accounts"] === undefined && told["catalog"] === undefined);
      return;
    }
    this.#clock.hear(told);
    if (name === "beat") this.#follower.beat();
    else {
      this.#backoff.succeeded();
      this.#follower.connected(told["resumed"] === "none");
    }
  }

  #listenToPage(way: "addEventListener" | "removeEventListener"): void {
    if (typeof globalThis.addEventListener === "function") {
      globalThis[way]("online", this.#goOnline);
      globalThis[way]("offline", this.#goOffline);
    }
    if (typeof document !== "undefined") document[way]("visibilitychange", this.#show);
  }

  readonly #goOnline = (): void => this.#waits.end();
  readonly #goOffline = (): void => this.#connection?.abort(new Error("the browser is offline"));

  /** A page that is shown again may have slept, and its connection may be gone without a word. */
  readonly #show = (): void => {
    if (document.visibilityState !== "visible") return;
    if (Date.now() - this.#clock.heardAt > this.#clock.silenceMs) {
      this.#connection?.abort(new Error("nothing was heard while the page slept"));
    }
    this.#waits.end();
    this.#follower.beat();
  };
}

/** What comes of a proxy that keeps events back, or answers by itself. */
class Blocked extends Error {}

/** Waits that can be cut short, all together. */
class Waits {
  readonly #ends = new Set<() => void>();

  begin(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#ends.delete(end);
        resolve();
      };
      const timer = setTimeout(end, waitMs);
      this.#ends.add(end);
    });
  }

  end(): void {
    for (const end of [...this.#ends]) end();
  }
}
