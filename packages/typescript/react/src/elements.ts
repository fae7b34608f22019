"use client";
/**
 * Paygrade's custom elements as components. The server serves the elements themselves; these give them names, types and
 * events.
 *
 * Laws: nothing is loaded while rendering, and on a server nothing at all; the elements are loaded once a page.
 */

import { createElement, useEffect, useRef } from "react";
import type { ReactNode } from "react";

const loading = new Map<string, Promise<void>>();

/** Loads the elements from your Paygrade server, once; `getToken` is asked for account tokens (`summary:read`). */
export function loadElements(url: string, getToken?: () => string | Promise<string>): Promise<void> {
  const address = `${url.replace(/\/+$/, "")}/embed/v1.js`;
  let loaded = loading.get(address);
  if (loaded === undefined) {
    loaded = import(/* @vite-ignore */ /* webpackIgnore: true */ address).then((elements: Elements) => {
      if (getToken !== undefined) elements.configure({ token: getToken });
    });
    loaded.catch(() => loading.delete(address));
    loading.set(address, loaded);
  }
  return loaded;
}

interface Elements {
  configure(given: { token: () => string | Promise<string> }): void;
}

/** What all of them take. `texts` replaces texts by their names: `{ "plan.choose": "Get {plan}" }`. */
export interface ElementProps {
  token?: string;
  tokenUrl?: string;
  lang?: string;
  className?: string;
  texts?: Record<string, string>;
  /** The token has ended, and there is no other. */
  onEnded?: () => void;
  children?: ReactNode;
}

/** What somebody chose. `price` is the price's key; null: the plan has none. */
export interface Choice {
  plan: string;
  interval: string | null;
  price: string | null;
}

export interface PlansProps extends ElementProps {
  plans?: string[];
  interval?: string;
  onChoose?: (choice: Choice) => void;
}

type Given = Record<string, unknown>;

function useEvents(on: Record<string, ((detail: never) => void) | undefined>) {
  const element = useRef<HTMLElement>(null);
  const latest = useRef(on);
  latest.current = on;
  useEffect(() => {
    const its = element.current;
    if (its === null) return;
    const listeners = Object.keys(latest.current).map((name) => {
      const listener = (event: Event) => latest.current[name]?.((event as CustomEvent).detail as never);
      its.addEventListener(`paygrade-${name}`, listener);
      return () => its.removeEventListener(`paygrade-${name}`, listener);
    });
    return () => listeners.forEach((end) => end());
  }, []);
  return element;
}

function attributesOf(props: ElementProps, own: Given): Given {
  const texts = Object.entries(props.texts ?? {}).map(([key, text]) => [`text-${key.replace(/[._]/g, "-")}`, text]);
  const named: Given = { token: props.token, "token-url": props.tokenUrl, lang: props.lang, class: props.className, ...own };
  const said = Object.entries(named).map(([name, value]) => [name, Array.isArray(value) ? value.join(" ") : value]);
  return Object.fromEntries([...said, ...texts].filter(([, value]) => value !== undefined));
}

function useElement(name: string, props: ElementProps, own: Given = {}, on: Given = {}) {
  const ref = useEvents({ ended: props.onEnded, ...on } as Record<string, (detail: never) => void>);
  return createElement(`paygrade-${name}`, { ref, ...attributesOf(props, own) }, props.children);
}

export function PricingTable(props: PlansProps & { href?: string; askHref?: string }) {
  const own = { plans: props.plans, interval: props.interval, href: props.href, "ask-href": props.askHref };
  return useElement("pricing-table", props, own, { choose: props.onChoose });
}

export function PlanPicker(props: PlansProps & { name?: string; value?: string }) {
  const own = { plans: props.plans, interval: props.interval, name: props.name, value: props.value };
  return useElement("plan-picker", props, own, { choose: props.onChoose });
}

export function UsageMeters(props: ElementProps & { features?: string[] }) {
  return useElement("usage", props, { features: props.features });
}

export function CreditBalance(props: ElementProps & { credits?: string[] }) {
  return useElement("credits", props, { credits: props.credits });
}

export function Seats(props: ElementProps) {
  return useElement("seats", props);
}

/** What is urgent: an overdue payment, a limit that is near (`from` so many percent), a trial that ends. */
export function Banner(props: ElementProps & { about?: ("past_due" | "limit" | "trial")[]; from?: number }) {
  return useElement("banner", props, { for: props.about, from: props.from });
}
