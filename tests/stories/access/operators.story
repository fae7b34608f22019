# What an operator says, and for how long it holds.

story an override restricts a limit until the second it expires

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  operator: override acme api_calls limit 10 until 2026-03-05T00:00Z because "abuse"
  acme api_calls 10: allowed override, limit 10, source override, because "abuse", until 2026-03-05T00:00Z
  acme api_calls 11: denied limit_reached, limit 10, source override, resets 2026-04-01T00:00Z
2026-03-04T23:59:59Z
  acme api_calls 11: denied limit_reached, limit 10
+1s
  acme api_calls 11: allowed plan, limit 100000


story an override begins on its second, and is known before

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  operator: override acme api_calls limit 10 from 2026-03-05T00:00Z until 2026-03-07T00:00Z because "maintenance"
  acme api_calls 11: allowed plan, limit 100000
2026-03-04T23:59:59Z
  acme api_calls 11: allowed plan, limit 100000
+1s
  acme api_calls 11: denied limit_reached, limit 10, source override
2026-03-07T00:00Z
  acme api_calls 11: allowed plan, limit 100000


story an override gives more than the plan, and the decision says when it is needed

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  operator: override acme api_calls add 500 because "sorry for the outage"
  acme api_calls 100000: allowed plan, limit 100500
  acme api_calls 100001: allowed override, limit 100500
  acme api_calls 100501: denied limit_reached
+1d
  operator: remove override acme api_calls
  acme api_calls 100001: denied limit_reached, limit 100000


story an override opens what the plan does not have

2026-03-01T00:00Z
  operator: account acme
  acme audit_log: denied not_in_plan
  operator: override acme audit_log is on until 2026-03-31T00:00Z because "beta"
  acme audit_log: allowed override, source override, because "beta"
  operator: override acme projects unlimited
  acme projects 1000000: allowed override, unlimited
  operator: override acme retention is 30
  acme retention: allowed override, value 30
  operator: override acme support is phone
  acme support: allowed override, value phone
2026-03-31T00:00Z
  acme audit_log: denied not_in_plan


story an override closes what the plan has

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  operator: override acme exports is off because "legal hold"
  acme exports: denied override_denied, source override, because "legal hold"
  acme editor: allowed plan
  operator: override acme api_calls is off
  acme api_calls: denied override_denied
  operator: remove override acme exports
  acme exports: allowed plan


story an override to zero leaves nothing

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x3
  operator: override acme seats limit 0
  acme seats: denied limit_reached, limit 0, source override


story an override outlives the subscription

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  operator: override acme exports is on because "promised"
2026-03-05T00:00Z
  provider: acme cancels now
  acme exports: allowed override
  acme editor: denied canceled


story units added by hand do not open what is suspended

2026-03-01T00:00Z
  provider: dunning ends in past_due
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme's card starts failing
  operator: override acme api_calls add 500
2026-04-08T01:00Z
  acme api_calls: denied past_due
# On the last step the free plan stands in, and the addition counts on top of it.
2026-04-22T01:00Z
  acme api_calls 1500: allowed override, limit 1500


story a block suspends everything, and beats an override

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  operator: override acme exports is on
  operator: block acme for fraud because "chargeback"
  acme exports, editor, seats, api_calls, tokens: denied blocked, because "chargeback"
  operator: lift block acme for fraud
  acme exports: allowed override
  acme editor: allowed plan


story a block ends on the second it was set to

2026-03-01T00:00Z
  operator: account acme
  operator: block acme for admin until 2026-03-02T00:00Z
  acme seats: denied blocked, source block, until 2026-03-02T00:00Z
2026-03-01T23:59:59Z
  acme seats: denied blocked
+1s
  acme seats: allowed plan


story of two blocks both must be lifted

2026-03-01T00:00Z
  operator: account acme
  operator: block acme for fraud
  operator: block acme for admin
  operator: lift block acme for fraud
  acme seats: denied blocked
  operator: lift block acme for admin
  acme seats: allowed plan


story a subscription billed by hand counts like any other

2026-03-31T00:00Z
  operator: account acme
  operator: subscription contract-7 of acme is active on scale x50 and extra_calls x2 since 2026-03-31T00:00Z, version 1
  acme seats 50: allowed plan, plan scale, limit 50
  acme api_calls: allowed plan, limit 600000, resets 2026-04-30T00:00Z
# What was sent first and comes last says nothing any more.
+1d
  operator: subscription contract-7 of acme is canceled on scale x50 since 2026-03-31T00:00Z, version 3
  operator: subscription contract-7 of acme is active on scale x60 since 2026-03-31T00:00Z, version 2
  acme audit_log: denied canceled, state canceled
  acme seats 1: allowed plan, plan free


story a subscription billed by hand walks down the ladder and ends on its dates

2026-03-01T00:00Z
  operator: account acme
  operator: subscription c-1 of acme is past_due on pro since 2026-01-01T00:00Z, unpaid since 2026-03-01T00:00Z, version 1
  acme editor: allowed grace, state grace
2026-03-08T00:00Z
  acme editor: denied past_due
  operator: subscription c-1 of acme is active on pro since 2026-01-01T00:00Z, ending 2026-04-01T00:00Z, version 2
  acme editor: allowed plan, until 2026-04-01T00:00Z
2026-04-01T00:00Z
  acme editor: denied canceled


story a trial by hand ends before its billing day, and calls follow the billing day

2026-03-01T00:00Z
  operator: account acme
  operator: subscription c-1 of acme is trialing on pro since 2026-03-20T00:00Z, trial until 2026-03-15T00:00Z, version 1
  acme editor: allowed trial, until 2026-03-15T00:00Z
  acme api_calls: allowed trial, resets 2026-03-20T00:00Z
2026-03-15T00:00Z
  acme editor: allowed plan, state active
  acme api_calls: allowed plan, resets 2026-03-20T00:00Z
