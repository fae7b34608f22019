/** The server's time, from what it told last and how the clock here went on since. */

/** After so many beats without one, the server is not heard any more. */
const SILENCES = 2.5;

export class ServerClock {
  /** When the server was heard last, by the clock here. */
  heardAt = -Infinity;
  #beatMs = 5_000;
  #aheadMs = 0;
  #standing: number | undefined;

  /** Whether time goes on by itself: a simulator's does not. */
  get goesOn(): boolean {
    return this.#standing === undefined;
  }

  get silenceMs(): number {
    return SILENCES * this.#beatMs;
  }

  now(): number {
    return this.#standing ?? Date.now() + this.#aheadMs;
  }

  /** Take in what a `hello` or `beat` says. Throws where it tells no time. */
  hear(told: { now?: unknown; stands_still?: unknown; beat_s?: unknown }): void {
    const now = Date.parse(String(told.now));
    if (Number.isNaN(now)) throw new SyntaxError("the stream can't be read: it tells no time");
    this.heardAt = Date.now();
    this.#aheadMs = now - this.heardAt;
    this.#standing = told.stands_still === true ? now : undefined;
    if (typeof told.beat_s === "number") this.#beatMs = Math.max(100, told.beat_s * 1_000);
  }
}
