# What prices are called at the provider, and what becomes of those who bought when a name is gone.

story a lookup key that a new price takes over takes nothing from those who pay the old one
catalog:
  version: 1
  features:
    editor: { kind: boolean }
    seats:  { kind: level, unit: seat }
    calls:  { kind: metered }
  plans:
    free: { default: true, entitlements: { seats: 1, calls: { limit: 10, every: month } } }
    pro:
      prices: { monthly: { amount: 9900, currency: usd, interval: month, stripe: pro_monthly } }
      entitlements: { editor: true, seats: { limit: quantity }, calls: { limit: 1000, every: month } }
  policies:
    plan_change: [{ when: now, seats: release_newest, usage: prorate }]

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x3
  operator: member ann of acme is owner with a seat
+1m
  operator: member bo of acme is editor with a seat
  product: acme consumes 900 calls: allowed plan, used 900
2026-03-10T00:00Z
  provider: a new pro_monthly for 12900 takes the lookup key over
  acme editor: allowed plan, plan pro
# Anything at all that has the customer read again.
  provider: acme puts in a good card
  acme editor: allowed plan, plan pro
  acme calls: allowed plan, limit 1000, used 900
  acme seats: allowed plan, limit 3, used 2
  acme findings: none
  weather: sweep
  acme editor: allowed plan, plan pro
2026-04-01T02:00Z
  acme calls: allowed plan, limit 1000, used 0
  acme findings: none


story who buys under the name's new price has the plan as those of the old price have it

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  acme editor: allowed plan, plan pro
  provider: a new pro_monthly for 12900 takes the lookup key over
  provider: beta signs up with a good card
  provider: beta subscribes to pro_monthly x2
  acme editor: allowed plan, plan pro
  beta editor: allowed plan, plan pro
  beta seats: allowed plan, limit 2


story a price that lost its name stays what it was to those who bought it

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly and extra_calls_monthly
  acme api_calls: allowed plan, limit 150000
  provider: the price extra_calls_monthly loses its lookup key
  provider: the price pro_monthly loses its lookup key
  provider: acme puts in a good card
  acme api_calls: allowed plan, limit 150000
  acme editor: allowed plan, plan pro
  acme findings: none


story a line that moves to a price nobody knows keeps what it last bought, and somebody is told

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to scale_monthly x4
  product: acme consumes 700 api_calls: allowed plan
2026-03-05T00:00Z
  provider: acme changes scale_monthly to pro_monthly x4
  acme editor: allowed plan, plan pro
+1h
  provider: acme changes pro_monthly to scale_monthly x3
  acme seats: allowed plan, limit 3
+1h
  provider: sells negotiated for 30000 a month
  provider: acme changes scale_monthly to negotiated x9
# Not the one it was first seen with, nor the nine seats of what is not understood.
  acme audit_log: allowed plan, plan scale
  acme seats: allowed plan, limit 3
  acme api_calls: allowed plan, used 700
  acme findings: unmapped_price
  owner: acme looks at the change: applied upgrade, made at the provider
# What is understood again counts again.
+1d
  provider: acme changes negotiated to pro_monthly x2
  acme seats: allowed plan, limit 2, plan pro
  acme findings: none


story a plan bought anew for a price nobody knows keeps what was understood before

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x2
  acme seats: allowed plan, limit 2
  provider: sells negotiated for 30000 a month
  provider: acme adds negotiated
  acme findings: unmapped_price
  provider: acme drops pro_monthly
  acme editor: allowed plan, plan pro
  acme seats: allowed plan, limit 2
  acme findings: unmapped_price


story what was never understood gives nothing, and somebody is told

2026-03-01T00:00Z
  provider: sells negotiated for 30000 a month
  provider: acme signs up with a good card
  provider: acme subscribes to negotiated
  acme editor: denied not_in_plan, plan free
  acme findings: unmapped_price


story a phase to come for a price nobody knows is told before it begins, and takes nothing when it does

2026-03-10T00:00Z
  provider: sells placeholder for 100 a month
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x2
  acme findings: none
  provider: acme will be on placeholder from 2026-04-10T00:00Z
  acme findings: unmapped_price
2026-04-09T23:59:59Z
  weather: lost
  acme editor: allowed plan, plan pro
+1s
  acme editor: allowed plan, plan pro
  acme seats: allowed plan, limit 2
+2d
  weather: calm
  weather: sweep
  acme editor: allowed plan, plan pro
  acme findings: unmapped_price
