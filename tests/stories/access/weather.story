# Webhooks arrive twice, in any order, or not at all, and the answers stay the same.
# The pure core has no weather: there these are plain stories.

story every webhook comes twice

2026-03-01T00:00Z
  weather: doubled
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x2
  acme seats 2: allowed plan, limit 2
  provider: acme changes pro_monthly to scale_monthly x4
  acme seats 4: allowed plan, limit 4, plan scale
  provider: acme cancels now
  acme editor: denied canceled


story webhooks come in any order

2026-03-01T00:00Z
  weather: shuffled, doubled
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly as first
  provider: acme cancels now
  provider: acme subscribes to scale_monthly as second
  provider: acme changes scale_monthly to pro_monthly
  provider: acme changes pro_monthly to pro_monthly x9
  acme seats 9: allowed plan, limit 9, plan pro
  acme audit_log: denied not_in_plan
  provider: acme's card starts failing
2026-04-01T01:00Z
  acme editor: allowed grace
  provider: acme puts in a good card
  provider: acme pays its latest invoice
  acme editor: allowed plan, state active
  provider: acme cancels now
  acme editor: denied canceled


story webhooks are lost and a sweep finds what happened

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x2
  acme seats 2: allowed plan, limit 2
+1d
  weather: lost
  provider: acme changes pro_monthly to scale_monthly x5
  weather: sweep
  acme seats 5: allowed plan, limit 5, plan scale
+1d
  provider: acme cancels now
  weather: sweep
  acme audit_log: denied canceled


story a customer whose every webhook was lost is found by the sweep

2026-03-01T00:00Z
  weather: lost
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  weather: sweep
  acme editor: allowed plan


story dates are kept though every webhook is lost

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: trial signs up with no card
  provider: trial subscribes to pro_monthly, 14 days of trial, canceled if there is no card then
  provider: acme cancels as of 2026-03-20T00:00Z
  acme editor: allowed plan
  trial editor: allowed trial
  weather: lost
2026-03-15T00:00Z
  trial editor: denied trial_ended
2026-03-20T00:00Z
  acme editor: denied canceled
