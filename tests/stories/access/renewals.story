# Renewals that go well, and the hour in which nobody knows yet.

story for the draft hour of a renewal the new period is not paid and access goes on

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
2026-03-31T23:59:59Z
  provider: acme's card starts failing
  acme api_calls: allowed plan, resets 2026-04-01T00:00Z
# The period moves first; the invoice is finalized and charged an hour later.
+1s
  acme editor: allowed plan, state active
  acme api_calls: allowed plan, resets 2026-05-01T00:00Z
2026-04-01T00:59:59Z
  acme editor: allowed plan, state active
+1s
  acme editor: allowed grace, state grace


story a renewal that is paid changes nothing but the period

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
2026-04-01T00:00Z
  acme editor: allowed plan, state active
2026-04-01T01:00Z
  acme editor: allowed plan, state active
  acme api_calls: allowed plan, limit 100000, resets 2026-05-01T00:00Z


story months that begin on the 31st end where they should

2026-01-31T10:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  acme api_calls: allowed plan, resets 2026-02-28T10:00Z
2026-02-28T09:59:59Z
  acme api_calls: allowed plan, resets 2026-02-28T10:00Z
+1s
  acme api_calls: allowed plan, resets 2026-03-31T10:00Z
2026-03-31T09:59:59Z
  acme api_calls: allowed plan, resets 2026-03-31T10:00Z
+1s
  acme api_calls: allowed plan, resets 2026-04-30T10:00Z
2026-04-30T10:00Z
  acme api_calls: allowed plan, resets 2026-05-31T10:00Z


story in a leap year the 31st becomes the 29th and comes back

2028-01-31T10:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  acme api_calls: allowed plan, resets 2028-02-29T10:00Z
2028-02-29T10:00Z
  acme api_calls: allowed plan, resets 2028-03-31T10:00Z


story a yearly subscription still gets its calls every month

2026-01-31T10:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_yearly
  acme api_calls: allowed plan, plan pro, limit 100000, resets 2026-02-28T10:00Z
2026-11-30T10:00Z
  acme api_calls: allowed plan, resets 2026-12-31T10:00Z
2027-01-31T11:00Z
  acme api_calls: allowed plan, state active, resets 2027-02-28T10:00Z


story a billing day of its own fixes the day on which calls come back

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly, billed from 2026-04-01T00:00Z
  acme api_calls: allowed plan, resets 2026-04-01T00:00Z
2026-04-01T02:00Z
  acme api_calls: allowed plan, state active, resets 2026-05-01T00:00Z
