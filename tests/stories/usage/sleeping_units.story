# Units that were bought sleep while no plan is paid for, and wake up with the next one.

story bought credits sleep on the free plan and wake up on return
catalog:
  version: 1
  features:
    exports: { kind: boolean }
    tokens:  { kind: metered, burns: { coins: { rate: 1 } } }
    images:  { kind: metered, without_plan: sleep }
    calls:   { kind: metered }
  credits:
    coins: { without_plan: sleep }
  plans:
    free: { default: true, entitlements: { coins: { grant: 5, every: month }, exports: true } }
    pro:
      prices: { monthly: { amount: 9900, currency: usd, interval: month, stripe: pro_monthly } }
      entitlements: { coins: { grant: 50, every: month }, images: { limit: 10, every: month } }
  policies:
    unpaid: [{ then: free }]

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  operator: grant acme 100 coins as paid, bought
  operator: grant acme 7 images as pictures, bought until 2026-06-10T00:00Z
  operator: grant acme 3 calls as plain, bought
  product: acme consumes 60 tokens: allowed credit, used 60
  acme images 17: allowed credit, limit 17
2026-03-20T00:00Z
  provider: acme cancels now
  acme coins: denied limit_reached, limit 5
  acme tokens: denied insufficient_credit
  product: acme consumes 1 tokens: denied insufficient_credit
  acme images: denied canceled
  acme calls 3: allowed credit
2026-06-01T00:00Z
  acme coins 5: allowed plan, limit 5, remaining 5
  acme tokens 6: denied insufficient_credit
  provider: acme subscribes to pro_monthly
  acme coins: allowed plan, remaining 140
  acme tokens 140: allowed credit
  acme images 17: allowed credit, limit 17
2026-06-10T00:00Z
  acme images 11: denied limit_reached, limit 10
