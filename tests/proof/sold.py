"""What is sold in the proof: every kind of limit, and how much of each row of the ledger there can ever be.

The bounds are written down by hand, beside the catalog, so that the audit needs no part of what it audits.
"""

from typing import NamedTuple

CATALOG = """
version: 1
features:
  calls: { kind: metered }
  capped: { kind: metered }
  shared: { kind: metered }
  recent: { kind: metered }
  rolled: { kind: metered }
  over: { kind: metered }
  seats: { kind: level }
  desks: { kind: level }
  tokens:
    kind: metered
    aggregate: sum
    value: tokens
    burns: { credits: { rate: 1, per: 7, by: { property: model, rates: { large: { rate: 5, per: 3 } } } } }
  images: { kind: metered, burns: { credits: { rate: 2, per: 3 } } }
  pings: { kind: metered, event: ping }
  sent: { kind: metered, event: sending, aggregate: sum, value: size }
  largest: { kind: metered, event: sending, aggregate: max, value: size }
  senders: { kind: metered, event: sending, aggregate: unique, value: sender }
  chats: { kind: metered, event: chat, aggregate: sum, value: tokens, burns: { coins: { rate: 2, per: 3 } } }
credits:
  credits: {}
  coins: {}
plans:
  free:
    default: true
    entitlements:
      calls: { limit: 12, every: month }
      capped: { limit: 20, every: month, caps: [ { limit: 8, every: hour }, { limit: 5, rolling: 1m } ] }
      shared: { limit: 10, every: month, per_member: 4 }
      recent: { limit: 6, rolling: 1m }
      rolled: { limit: 6, every: month, rollover: 4 }
      over: { limit: 5, every: month, overage: { price: { amount: 2, currency: usd }, spend_cap: 8 } }
      seats: 3
      desks: 1000
      credits: { grant: 9, every: month, rollover: 3 }
      pings: { limit: 40, every: month }
      sent: { limit: 5000, every: month }
      largest: { limit: 400, every: lifetime }
      senders: { limit: 20, every: lifetime }
      coins: { grant: 50, every: month }
  team:
    entitlements:
      calls: { limit: 900, every: month }
      capped: { limit: 600, every: month, caps: [ { limit: 500, every: hour }, { limit: 80, rolling: 1m } ] }
      shared: { limit: 500, every: month, per_member: 150 }
      recent: { limit: 70, rolling: 1m }
      rolled: { limit: 300, every: month, rollover: 40 }
      over: { limit: 300, every: month, overage: { price: { amount: 2, currency: usd }, spend_cap: 100 } }
      seats: 50
      desks: 100000
      credits: { grant: 700, every: month, rollover: 60 }
      pings: { limit: 2000, every: month }
      sent: { limit: 5000, every: month }
      largest: { limit: 400, every: lifetime }
      senders: { limit: 20, every: lifetime }
      coins: { grant: 50, every: month }
"""


class Bound(NamedTuple):
    """How many units of a pool a plan gives: in the window, carried into it, by the hour, in a minute, each member."""

    window: int | None
    carried: int = 0
    hour: int | None = None
    minute: int | None = None
    member: int | None = None


ROLLING_S = 60
BUCKET_S = 1
TOLD = {pool: Bound(None) for pool in ("pings", "sent", "largest", "senders", "chats", "coins")}
"""What usage events are of: they happened, so they count over any limit."""
FREE = {
    **TOLD,
    "calls": Bound(12),
    "capped": Bound(20, hour=8, minute=5),
    "shared": Bound(10, member=4),
    "recent": Bound(None, minute=6),
    "rolled": Bound(6, carried=4),
    "over": Bound(5 + 4),  # what is over costs 2 each, and 8 are spent at most
    "seats": Bound(3),
    "desks": Bound(None),  # an operator says how many are used, whatever the limit
    "credits": Bound(9, carried=3),
    "tokens": Bound(None),  # paid in credits
    "images": Bound(None),
}
TEAM = {
    **TOLD,
    "calls": Bound(900),
    "capped": Bound(600, hour=500, minute=80),
    "shared": Bound(500, member=150),
    "recent": Bound(None, minute=70),
    "rolled": Bound(300, carried=40),
    "over": Bound(300 + 50),
    "seats": Bound(50),
    "desks": Bound(None),
    "credits": Bound(700, carried=60),
    "tokens": Bound(None),
    "images": Bound(None),
}
ASKED_MAX = {
    "calls": 4,
    "capped": 3,
    "shared": 3,
    "recent": 3,
    "rolled": 3,
    "over": 3,
    "seats": 2,
    "tokens": 12,
    "images": 5,
    "pings": 3,
}
"""How many units are asked for at once, by feature."""
GRANTED = ("calls", "capped", "credits", "sent")
"""What is granted by itself as well."""
BY_CREDIT = {"tokens": "credits", "images": "credits", "chat": "coins", "chats": "coins"}
"""By the feature that is used or the event that says so."""
CHAT_PRICE = (2, 3)
MEMBERS = ("ann", "bob", "cyd", "dee")


def price(feature: str, properties: dict[str, str] | None) -> tuple[int, int]:
    """Credits for so many units."""
    if feature == "images":
        return 2, 3
    return (5, 3) if properties and properties.get("model") == "large" else (1, 7)
