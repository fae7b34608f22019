/**
 * Requests to the server, each with a token that has not ended.
 *
 * Laws: a token is sent in a header, never in an address; one request for a new token is under way at most; a token the
 * server refuses is replaced once, and then the refusal stands.
 */

/** The server refused (`status`, and the problem's `code`), or could not be reached (`status` 0). */
export class PaygradeError extends Error {
  override readonly name = "PaygradeError";

  constructor(message: string, readonly status = 0, readonly code = "unreachable", readonly retryAfterMs = 0) {
    super(message);
  }
}

export type GetToken = () => Promise<string>;
export type Fetch = (address: string, init: RequestInit) => Promise<Response>;

/** How long before its end a token is replaced, at the most. */
const MARGIN_MS = 30_000;
const GET_TOKEN_MS = 10_000;

export class Transport {
  readonly #base: string;
  readonly #getToken: GetToken;
  readonly #fetch: Fetch;
  readonly #now: () => number;
  #token: string | undefined;
  #getting: Promise<string> | undefined;
  #renewAt = Infinity;

  /** `now`: the server's time, in milliseconds. */
  constructor(base: string, getToken: GetToken, fetch: Fetch, now: () => number) {
    this.#base = base.replace(/\/+$/, "");
    this.#getToken = getToken;
    this.#fetch = fetch;
    this.#now = now;
  }

  /** For how long the token in use is good, in milliseconds. */
  get renewInMs(): number {
    return this.#renewAt - this.#now();
  }

  /** The answer to a request, if it is a good one. Throws PaygradeError. */
  async ask(path: string, init: RequestInit = {}): Promise<Response> {
    let token = await this.#current();
    let answer = await this.#send(path, init, token);
    if (answer.status === 401) {
      await answer.body?.cancel();
      if (this.#token === token) this.#token = undefined;
      token = await this.#current();
      answer = await this.#send(path, init, token);
    }
    if (!answer.ok) throw await refusal(answer);
    return answer;
  }

  async json(path: string, init: RequestInit = {}): Promise<unknown> {
    const answer = await this.ask(path, init);
    try {
      return await answer.json();
    } catch {
      throw new PaygradeError("the answer can't be read", 0, "unreadable");
    }
  }

  async #send(path: string, init: RequestInit, token: string): Promise<Response> {
    const headers = { ...(init.headers as Record<string, string>), authorization: `Bearer ${token}` };
    try {
      return await this.#fetch(this.#base + path, { ...init, headers, cache: "no-store", credentials: "omit" });
    } catch (error) {
      throw new PaygradeError(`the server can't be reached: ${describe(error)}`);
    }
  }

  async #current(): Promise<string> {
    if (this.#token !== undefined && this.renewInMs > 0) return this.#token;
    this.#getting ??= this.#get().finally(() => (this.#getting = undefined));
    return this.#getting;
  }

  async #get(): Promise<string> {
    try {
      const token = await inTime(this.#getToken());
      this.#renewAt = renewAt(token, this.#now());
      return (this.#token = token);
    } catch (error) {
      throw new PaygradeError(`there is no token: ${describe(error)}`, 0, "no_token");
    }
  }
}

async function inTime<T>(asked: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("it did not come in time")), GET_TOKEN_MS);
  });
  return Promise.race([asked, late]).finally(() => clearTimeout(timer));
}

/** When a token should be replaced: shortly before its `exp` (RFC 7519); a key has no end. */
function renewAt(token: string, now: number): number {
  const payload = token.split(".")[1];
  if (payload === undefined) return Infinity;
  try {
    const { exp, iat } = JSON.parse(atob(payload.replace(/-/g, "+").replace(/_/g, "/"))) as { exp?: number; iat?: number };
    if (typeof exp !== "number") return Infinity;
    const lifetime = (exp - (iat ?? exp)) * 1_000;
    const early = exp * 1_000 - (lifetime > 0 ? Math.min(MARGIN_MS, lifetime / 5) : MARGIN_MS);
    // One that comes with little left is used all the same, not replaced with each request.
    return Math.max(early, now + 1_000);
  } catch {
    return Infinity;
  }
}

async function refusal(answer: Response): Promise<PaygradeError> {
  let problem: { code?: unknown; detail?: unknown } = {};
  try {
    problem = Object((await answer.json()) as unknown) as typeof problem;
  } catch {
    // Something between us and the server has answered.
  }
  const detail = typeof problem.detail === "string" ? problem.detail : `the answer was ${answer.status}`;
  const after = Number(answer.headers.get("retry-after") ?? 0);
  const code = typeof problem.code === "string" ? problem.code : "unexpected";
  return new PaygradeError(detail, answer.status, code, Number.isFinite(after) ? after * 1_000 : 0);
}

export function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
