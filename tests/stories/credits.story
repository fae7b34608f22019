# Features that are paid in credits: a credit buys 1,000 tokens.

story tokens are paid in credits until there are not enough

2026-03-01T00:00Z
  provider: acme signs up with a good card
  acme tokens: denied not_in_plan
  provider: acme subscribes to pro_monthly
  acme tokens 5000000: allowed credit, limit 5000000, resets 2026-04-01T00:00Z
  acme tokens 5000001: denied insufficient_credit, limit 5000000
  acme ai_credits 5000: allowed plan, limit 5000
  acme ai_credits 5001: denied limit_reached


story credits added by hand buy tokens

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  operator: override acme ai_credits add 1
  acme tokens 5001000: allowed credit, limit 5001000
  acme tokens 5001001: denied insufficient_credit


story credits end with the subscription

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme cancels now
  acme tokens: denied canceled
