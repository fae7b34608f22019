# What becomes of items that are removed at the provider in the middle of a paid period: the policy `removed_items`.

story an add-on that is removed counts until the end of the period it was paid for
catalog removed

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly and pro_seats x3 and extra_calls_monthly x2 and reports_monthly
  acme calls: allowed plan, limit 200
2026-03-10T00:00Z
  provider: acme drops extra_calls_monthly, not prorated
  provider: acme drops reports_monthly, not prorated
  product: acme consumes 150 calls: allowed add_on, used 150
  acme exports: allowed add_on, until 2026-04-01T00:00Z, because "removed at the provider, and counts until 2026-04-01 00:00 UTC, as it was paid"
  acme calls: allowed add_on, limit 200, used 150
2026-03-31T23:59:59Z
  acme calls: allowed add_on, limit 200, used 150
+1s
  acme exports: denied not_in_plan
  acme calls: allowed plan, limit 100, used 0
2026-05-03T00:00Z
  acme exports: denied not_in_plan
  acme calls: allowed plan, limit 100


story seats that are removed stay until the period ends, and bought again they do not count twice
catalog removed

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly and pro_seats x7
  acme seats: allowed plan, limit 7
2026-03-10T00:00Z
  provider: acme drops pro_seats, not prorated
  acme seats: allowed plan, limit 7
2026-03-12T00:00Z
  provider: acme adds pro_seats x4
  acme seats: allowed plan, limit 7
2026-03-14T00:00Z
  provider: acme changes pro_seats to pro_seats x9
  acme seats: allowed plan, limit 9
2026-03-16T00:00Z
  provider: acme changes pro_seats to pro_seats x2
  acme seats: allowed plan, limit 7
2026-04-01T01:30Z
  acme seats: allowed plan, limit 2


story what was credited for the time left ends at once where credit notes end access
catalog removed

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly and pro_seats x3 and extra_calls_monthly x2 and reports_monthly
2026-03-10T00:00Z
  provider: acme drops reports_monthly
  provider: acme changes extra_calls_monthly to extra_calls_monthly x1
  acme exports: denied not_in_plan
  acme calls: allowed plan, limit 150
  provider: acme drops extra_calls_monthly, not prorated
  acme calls: allowed plan, limit 150
2026-04-01T01:30Z
  acme calls: allowed plan, limit 100


story another plan takes the place of one that was removed, and a trial was paid for by nobody
catalog removed

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: bob signs up with a good card
  provider: bob subscribes to pro_monthly and reports_monthly, 14 days of trial
2026-03-10T00:00Z
  provider: acme adds scale_monthly
  provider: acme drops pro_monthly, not prorated
  acme calls: allowed plan, plan scale, limit 1000
  provider: bob drops reports_monthly, not prorated
  bob exports: denied not_in_plan
  provider: acme cancels now
  acme calls: allowed plan, plan free, limit 10


story a quote says what follows: what is credited ends, what is not counts on until the period ends
catalog removed

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly and reports_monthly
  provider: bob signs up with a good card
  provider: bob subscribes to pro_monthly and reports_monthly
2026-03-10T00:00Z
  owner: acme changes to no reports: applied downgrade
  acme exports: denied not_in_plan
  owner: bob changes to no reports, 1 extra_calls: applied lateral
  bob exports: allowed add_on, until 2026-04-01T00:00Z
  bob calls: allowed plan, limit 150
2026-04-01T00:00Z
  bob exports: denied not_in_plan
  bob calls: allowed plan, limit 150
