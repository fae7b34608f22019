# Windows: when what was used comes back, and what moves that (nothing that is bought or overridden).

story a month of the calendar begins in its own time zone

catalog windows

2026-03-10T12:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  acme reports 200: allowed plan, limit 200, resets 2026-03-31T22:00Z
2026-03-31T21:59Z
  acme reports: allowed plan, resets 2026-03-31T22:00Z
2026-03-31T22:00Z
  acme reports: allowed plan, resets 2026-04-30T22:00Z


story ten days are ten days from the subscription's first on

catalog windows

2026-02-20T09:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  acme scans: allowed plan, limit 50, resets 2026-03-02T09:00Z
2026-03-05T00:00Z
  acme scans: allowed plan, limit 50, resets 2026-03-12T09:00Z


story up and down and up in a month moves no window

catalog windows

2026-01-31T10:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  acme calls: allowed plan, limit 1000, resets 2026-02-28T10:00Z
2026-02-05T00:00Z
  provider: acme changes pro_monthly to scale_monthly
  acme calls: allowed plan, limit 9000, resets 2026-02-28T10:00Z
2026-02-06T00:00Z
  provider: acme changes scale_monthly to pro_monthly
  acme calls: allowed plan, limit 1000, resets 2026-02-28T10:00Z
2026-02-07T00:00Z
  provider: acme changes pro_monthly to scale_monthly
  operator: override acme calls limit 20000
  acme calls: allowed override, limit 20000, resets 2026-02-28T10:00Z


story what is given once for good never resets

catalog windows

2026-03-10T00:00Z
  provider: acme signs up with a good card
  acme builds 10: allowed plan, limit 10, resets none
  acme builds 11: denied limit_reached, limit 10
2026-06-10T00:00Z
  acme builds 10: allowed plan, limit 10, resets none


story the last day's use has no day on which it resets

catalog windows

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to scale_monthly
  acme builds 500: allowed plan, limit 500, resets none
  acme builds 501: denied limit_reached, limit 500
