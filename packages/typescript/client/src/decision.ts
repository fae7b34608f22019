/** Decisions: may the account use a feature now, and why? The fields are those of the server's answer. */

export type Reason =
  | "plan" | "add_on" | "override" | "trial" | "credit" | "grace"
  | "not_in_plan" | "limit_reached" | "insufficient_credit" | "no_subscription" | "trial_ended" | "past_due" | "unpaid"
  | "paused" | "canceled" | "blocked" | "no_seat" | "role_not_permitted" | "override_denied" | "unknown_feature"
  | "unknown_account" | "stale";

/** Where it comes from; what does not apply is left out. */
export interface Source {
  kind: "plan" | "add_on" | "leeway" | "override" | "block";
  reason: Reason;
  plan?: string;
  subscription?: string;
  state?: string;
  units?: number;
  unlimited?: boolean;
  value?: boolean | number | string;
  note?: string;
  until?: string;
  spend_cap?: number;
}

/** The server's answer for `quantity` more units. Counts are null where nothing is counted; instants are RFC 3339. */
export interface Decision {
  allowed: boolean;
  reason: Reason;
  /** Who can or can't use what, and why, in one plain sentence. */
  message: string;
  account: string;
  feature: string;
  quantity: number;
  limit: number | null;
  used: number | null;
  reserved: number | null;
  remaining: number | null;
  unlimited: boolean;
  resets_at: string | null;
  limited_by: string | null;
  value: boolean | number | string | null;
  plan: string | null;
  sources: Source[];
  as_of: string;
  version: string;
  /** The server can't be heard at the moment: this is what was known last. */
  stale: boolean;
  /** No other process can have counted more meanwhile. */
  exact: boolean;
}

/** A decision as it is remembered. */
export interface Answer extends Decision {
  /** Nothing was answered yet: this is the default. */
  loading: boolean;
  /** For how many seconds the server has not been heard: 0 while it is, Infinity if it never was. */
  readonly age: number;
}

/** What the server answers for all features: what a page can be rendered with, and a client can begin with. */
export interface Known {
  account: string;
  version: string;
  as_of: string;
  /** For one unit of each feature. */
  decisions: Record<string, Decision>;
  /** Until when each stays as it is if nothing but time happens. */
  until: Record<string, string>;
}

/** What a feature answers while nothing is known of it. */
export type OnError = "allow" | "deny";

/** Reads an answer for all features; throws where it is something else. */
export function readKnown(body: unknown): Known {
  const known = body as Partial<Known> | null;
  const isKnown = typeof known?.decisions === "object" && typeof known.until === "object";
  if (!isKnown || !Object.values(known.decisions ?? {}).every((each) => typeof each?.allowed === "boolean")) {
    throw new Error("the answer is not one of Paygrade's");
  }
  return known as Known;
}

/** A decision that the server did not make. */
export function madeUp(account: string, feature: string, quantity: number, reason: Reason, allowed: boolean): Decision {
  const why = WHY[reason] ?? "the server could not be asked about the account yet";
  return {
    allowed,
    reason,
    message: `${account} ${allowed ? "can" : "can't"} use ${quantity > 1 ? `${quantity} ` : ""}${feature}: ${why}`,
    account,
    feature,
    quantity,
    limit: null,
    used: null,
    reserved: null,
    remaining: null,
    unlimited: false,
    resets_at: null,
    limited_by: null,
    value: null,
    plan: null,
    sources: [],
    as_of: new Date().toISOString(),
    version: "0.0",
    stale: reason === "stale",
    exact: false,
  };
}

const WHY: Partial<Record<Reason, string>> = {
  unknown_account: "there is no such account",
  unknown_feature: "the catalog has no such feature",
};
