# Which failure a ladder counts from, and what it leaves: what was paid for last.

story an old invoice that was let rest does not shorten the grace of a new failure

2027-01-10T12:00Z
  provider: dunning ends in past_due
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x3
  provider: acme's card starts failing
2027-03-05T00:00Z
  acme exports: denied past_due
  provider: acme puts in a good card
2027-06-20T00:00Z
  acme exports: allowed plan, state active
  provider: acme's card starts failing
2027-07-10T14:00Z
  acme editor: allowed grace, state grace, until 2027-07-17T13:00Z, because "step 1 of 3: full access until 2027-07-17 13:00 UTC, then read and export only"
2027-07-17T13:00Z
  acme exports: allowed grace, state past_due, because "step 2 of 3: read and export only until 2027-07-31 13:00 UTC, then the plan free"
  acme editor: denied past_due, because "step 2 of 3: read and export only until 2027-07-31 13:00 UTC, then the plan free"
2027-07-31T13:00Z
  acme editor: denied past_due, because "step 3 of 3: the plan free"


story an invoice that was written off is not counted from
catalog no_free_plan

2026-03-01T00:00Z
  provider: dunning ends in past_due
  provider: acme signs up with a good card
  provider: acme subscribes to team_monthly
  provider: acme's card starts failing
2026-05-01T02:00Z
  acme editor: denied past_due
  provider: acme's oldest invoice is written off
  acme editor: allowed grace, state grace, until 2026-05-04T01:00Z


story an upgrade that was declined gives nothing, and grace goes on with what was paid for

2027-01-10T12:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x2
  acme seats: allowed plan, limit 2
2027-01-12T12:00Z
  provider: acme's card starts failing
  provider: acme changes pro_monthly to scale_monthly x50, charged at once
  acme editor: allowed grace, plan pro, state grace
  acme audit_log: denied not_in_plan, plan pro
  acme seats: allowed grace, limit 2
  acme api_calls: allowed grace, limit 100000
2027-01-13T00:00Z
  provider: acme puts in a good card
  provider: acme pays its latest invoice
  acme audit_log: allowed plan, plan scale
  acme seats: allowed plan, limit 50
  owner: acme looks at the change: applied upgrade, made at the provider


story more of the same that was declined gives nothing

2027-01-10T12:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x2
  provider: acme's card starts failing
+1d
  provider: acme changes pro_monthly to pro_monthly x9, charged at once
  acme seats: allowed grace, limit 2


story an add-on that was declined gives nothing

2027-01-10T12:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme's card starts failing
+1d
  provider: acme adds extra_calls_monthly, charged at once
  acme api_calls: allowed grace, limit 100000
  acme editor: allowed grace, plan pro


story two upgrades that were declined leave what was paid for before the first

2027-01-10T12:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x2
  provider: acme's card starts failing
+1d
  provider: acme changes pro_monthly to pro_monthly x3, charged at once
+1d
  provider: acme changes pro_monthly to scale_monthly x4, charged at once
  acme editor: allowed grace, plan pro
  acme seats: allowed grace, limit 2


story an upgrade that was to be paid with the next invoice is not paid while that is not

2027-01-10T12:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
+1d
  provider: acme changes pro_monthly to scale_monthly
  acme audit_log: allowed plan, plan scale
  provider: acme's card starts failing
2027-02-10T14:00Z
  acme audit_log: denied not_in_plan, plan pro
  acme editor: allowed grace, plan pro, state grace


story who asked for less while they owed has less

2027-01-10T12:00Z
  provider: dunning ends in past_due
  provider: acme signs up with a good card
  provider: acme subscribes to scale_monthly x5
  provider: acme's card starts failing
2027-02-11T00:00Z
  acme audit_log: allowed grace, plan scale
  provider: acme changes scale_monthly to pro_monthly x2
  acme audit_log: denied not_in_plan, plan pro
  acme seats: allowed grace, limit 2


story a cycle begun anew with another plan, and declined, leaves what was paid for

2027-01-10T12:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x2
  provider: acme's card starts failing
+1d
  provider: acme changes pro_monthly to scale_monthly x7, with a new cycle
  acme audit_log: denied not_in_plan, plan pro
  acme seats: allowed grace, limit 2


story who is declined on an upgrade and then cancels is never given what was not paid for

2027-01-10T12:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x2
2027-01-12T12:00Z
  provider: acme's card starts failing
  provider: acme changes pro_monthly to scale_monthly x50, charged at once
  acme audit_log: denied not_in_plan, plan pro
+1h
  provider: acme cancels at period end
  acme audit_log: denied not_in_plan, plan pro
  acme seats: allowed grace, limit 2
2027-02-11T00:00Z
  acme audit_log: denied canceled
  acme editor: denied canceled
