/** How long to wait before trying again: full jitter, so that clients of a server that comes back don't come together. */

const LONGEST_MS = 30_000;

export class Backoff {
  /** About how long the first wait is. */
  firstMs = 1_000;
  #failures = 0;

  succeeded(): void {
    this.#failures = 0;
  }

  /** For how long to wait after one more failure; `atLeastMs`: what the server asked for. */
  waitMs(atLeastMs = 0): number {
    const longest = Math.min(LONGEST_MS, this.firstMs * 2 ** Math.min(this.#failures++, 10));
    return atLeastMs + longest * (0.05 + 0.95 * Math.random());
  }
}
