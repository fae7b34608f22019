"use client";
/**
 * What an account may do, in components: each renders anew when its answer changes.
 *
 * Laws: rendering asks nobody, on a server least of all; a client has one stream, however many components use it and
 * however often they come and go; a page rendered with a client's `initial` is the same in the browser.
 */

import type { Answer, Paygrade, Status } from "@paygrade/client";
import { createContext, createElement, useCallback, useContext, useRef, useSyncExternalStore } from "react";
import type { ReactNode } from "react";

export * from "./elements.js";

const Context = createContext<Paygrade | null>(null);

/** Gives the components below a client. It stays yours: make it once, outside of rendering, and close it. */
export function PaygradeProvider(props: { client: Paygrade; children?: ReactNode }) {
  return createElement(Context.Provider, { value: props.client }, props.children);
}

export function usePaygrade(): Paygrade {
  const client = useContext(Context);
  if (client === null) throw new Error("there is no <PaygradeProvider> above this component");
  return client;
}

/** May the account use one more unit of the feature, and why? */
export function useDecision(feature: string): Answer {
  const client = usePaygrade();
  const read = useCallback(() => client.decision(feature), [client, feature]);
  return useSyncExternalStore(client.subscribe, read, read);
}

/** How much of a feature is used. Null where nothing is counted, or nothing is known yet. */
export interface Usage
  extends Pick<Answer, "used" | "reserved" | "limit" | "remaining" | "unlimited" | "resets_at" | "loading" | "stale"> {
  /** How much of the limit is taken, from 0 to 1 and beyond where that is allowed. */
  fraction: number | null;
}

export function useUsage(feature: string): Usage {
  const { used, reserved, limit, remaining, unlimited, resets_at, loading, stale } = useDecision(feature);
  const taken = (used ?? 0) + (reserved ?? 0);
  const fraction = limit === null ? null : limit > 0 ? taken / limit : 1;
  return { used, reserved, limit, remaining, unlimited, resets_at, loading, stale, fraction };
}

/** Whether the server is heard, and since when not. */
export function useStatus(): Status {
  const client = usePaygrade();
  const kept = useRef<Status | undefined>(undefined);
  const read = useCallback(() => {
    const { state, age, detail } = client.status;
    if (kept.current?.state !== state || kept.current.detail !== detail) kept.current = { state, age, detail };
    return kept.current;
  }, [client]);
  return useSyncExternalStore(client.subscribe, read, read);
}

export interface GateProps {
  feature: string;
  /** What to show where the feature is allowed. */
  children?: ReactNode;
  /** What to show where it is not, such as an offer to upgrade: a node, or what makes one of the decision. */
  fallback?: ReactNode | ((decision: Answer) => ReactNode);
  /** What to show until the first answer is there. */
  loading?: ReactNode;
}

export function Gate({ feature, children = null, fallback = null, loading = null }: GateProps) {
  const decision = useDecision(feature);
  const denied = () => (typeof fallback === "function" ? fallback(decision) : fallback);
  return decision.loading ? loading : decision.allowed ? children : denied();
}
