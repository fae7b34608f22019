# What becomes of access and units when a payment goes back: the policy `returned_payment`.

story a refund of the whole payment ends access until a new period is paid
catalog returned

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
2026-03-10T00:00Z
  product: acme consumes 30 calls: allowed plan, used 30
  provider: acme's payment is refunded
  acme exports: denied unpaid, because "the payment for this period was refunded, so access has ended"
  acme calls: denied limit_reached, plan free, limit 10, used 30, remaining 0
2026-04-01T01:30Z
  acme exports: allowed plan, plan pro
  acme calls: allowed plan, limit 100, used 0


story a refund of a part voids the same part of the units, and what is used stays used
catalog returned

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 30 calls: allowed plan, used 30
2026-03-10T00:00Z
  provider: acme's payment is refunded, 4950 of it
  acme exports: allowed plan, because "the payment for this period was partly refunded, so the units it paid for are void"
  acme calls: allowed plan, limit 50, used 30, remaining 20
  acme projects: allowed plan, limit 5
  acme once: allowed plan, limit 3
  acme coins: allowed plan, limit 25
  product: acme consumes 21 calls: denied limit_reached
  provider: acme's payment is refunded, 2475 of it
  acme calls: denied limit_reached, limit 25, used 30
2026-04-01T01:30Z
  acme calls: allowed plan, limit 100, used 0


story a dispute ends access at the end of the period, and one that is won gives it back
catalog returned

2026-03-01T00:00Z
  provider: acme signs up with a card whose payments are disputed
  provider: acme subscribes to pro_monthly
2026-03-02T00:00Z
  acme exports: allowed plan, until 2026-04-01T00:00Z, because "the payment for this period was disputed, so access ends 2026-04-01 00:00 UTC unless a new period is paid"
  provider: acme's dispute is won
  acme exports: allowed plan, state active


story a dispute that is lost ends access at once, and nobody loses a seat for good
catalog returned

2026-03-01T00:00Z
  provider: acme signs up with a card whose payments are disputed
  provider: acme subscribes to pro_monthly
  operator: member ann of acme is owner with a seat
  operator: member bob of acme is editor with a seat
2026-03-02T00:00Z
  provider: acme puts in a good card
  provider: acme's dispute is lost
  acme exports: denied unpaid, because "the payment for this period was lost by a dispute, so access has ended"
  acme seats: denied limit_reached, limit 1, used 2
2026-04-01T01:30Z
  acme exports: allowed plan
  acme seats: allowed plan, limit 5, used 2


story while a dispute is open only reading is left, and one that is won gives everything back
catalog:
  version: 1
  features:
    exports:  { kind: boolean, access: export }
    calls:    { kind: metered }
    once:     { kind: metered }
    seats:    { kind: level, unit: seat }
    projects: { kind: level }
  credits:
    coins: { unit: coin }
  plans:
    free:
      default: true
      entitlements: { calls: { limit: 10, every: month }, seats: 1 }
    pro:
      prices: { monthly: { amount: 9900, currency: usd, interval: month, stripe: pro_monthly } }
      entitlements:
        exports:  true
        calls:    { limit: 100, every: month }
        once:     { limit: 3, every: lifetime }
        seats:    5
        projects: 5
        coins:    { grant: 50, every: month }
  policies:
    unpaid: [{ then: free }]
    returned_payment:
      refund: { full: end_now, partial: void_rest }
      dispute: read_only
      dispute_lost: end_at_period_end
      credit_note: { full: end_now, partial: void_rest }

2026-03-01T00:00Z
  provider: acme signs up with a card whose payments are disputed
  provider: acme subscribes to pro_monthly
2026-03-02T00:00Z
  acme exports: allowed grace, state past_due, because "the payment for this period was disputed, so only reading and exporting is left"
  acme calls, projects, coins: denied past_due, plan pro, state past_due
  provider: acme's dispute is won
  acme exports, calls, projects, coins: allowed plan, state active


story a credit note to the balance voids its part, and one that refunds counts once
catalog returned

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
2026-03-10T00:00Z
  provider: acme's payment is credited to the balance, 990 of it
  acme calls: allowed plan, limit 90


story without a policy a refund changes nothing

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme's payment is refunded
  acme exports: allowed plan, state active
