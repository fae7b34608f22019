# What a schedule at the provider will make of a subscription, known ahead and in force on the second.

story a downgrade planned for the period's end takes effect on the second, told or not

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to scale_monthly
  acme audit_log: allowed plan, plan scale
2026-03-20T00:00Z
  provider: acme will be on pro_monthly x2 from 2026-04-10T00:00Z
  acme audit_log: allowed plan, plan scale, until 2026-04-10T00:00Z
2026-04-09T23:59:59Z
  weather: lost
  acme audit_log: allowed plan, plan scale
+1s
  acme audit_log: denied not_in_plan, plan pro
  acme seats 2: allowed plan, limit 2
  acme api_calls: allowed plan, limit 100000
+1d
  weather: sweep
  acme audit_log: denied not_in_plan, plan pro


story a plan to change that is taken back changes nothing

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to scale_monthly
  provider: acme will be on pro_monthly from 2026-04-10T00:00Z
  acme audit_log: allowed plan, plan scale, until 2026-04-10T00:00Z
2026-03-20T00:00Z
  provider: acme's schedule is released
2026-04-10T00:00Z
  acme audit_log: allowed plan, plan scale


story an upgrade in mid-period that was planned keeps what was used

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme will be on scale_monthly from 2026-03-20T00:00Z
  product: acme consumes 1000 api_calls: allowed plan, used 1000, limit 100000
2026-03-20T00:00Z
  acme api_calls: allowed plan, used 1000, limit 500000, resets 2026-04-10T00:00Z
  acme audit_log: allowed plan, plan scale


story phases follow one another, and the last one ends it all

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme will be on pro_monthly x3 from 2026-03-15T00:00Z
  provider: acme will be on scale_monthly from 2026-03-20T00:00Z and ends 2026-04-01T00:00Z
  acme seats 1: allowed plan, limit 1
  weather: lost
2026-03-15T00:00Z
  acme seats 3: allowed plan, limit 3, plan pro
2026-03-20T00:00Z
  acme audit_log: allowed plan, plan scale
2026-03-31T23:59:59Z
  acme audit_log: allowed plan, plan scale
+1s
  acme audit_log: denied canceled


story an add-on planned for later comes on its day

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme will be on pro_monthly and extra_calls_monthly from 2026-03-20T00:00Z
  acme api_calls: allowed plan, limit 100000
2026-03-20T00:00Z
  acme api_calls: allowed plan, limit 150000


story a trial that a schedule brings begins and ends on its days

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme will be on scale_monthly from 2026-04-10T00:00Z, trial until 2026-04-17T00:00Z
  acme audit_log: denied not_in_plan, plan pro
  weather: lost
2026-04-10T00:00Z
  acme audit_log: allowed trial, plan scale, until 2026-04-17T00:00Z
2026-04-17T00:00Z
  acme audit_log: allowed plan, plan scale


story what is planned of a subscription billed by hand takes effect on its day

2026-03-10T00:00Z
  operator: account acme
  operator: subscription m1 of acme is active on scale since 2026-03-10T00:00Z, then pro x2 from 2026-04-10T00:00Z, version 1
  acme audit_log: allowed plan, plan scale, until 2026-04-10T00:00Z
2026-04-10T00:00Z
  acme audit_log: denied not_in_plan, plan pro
  acme seats 2: allowed plan, limit 2
