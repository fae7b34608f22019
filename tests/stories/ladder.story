# The access ladder of the standard catalog: 7 days full, 14 days read and export, then free.

story a failed renewal walks down the ladder, and paying brings everything back

2026-01-31T10:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x3
  acme exports, editor: allowed plan, plan pro, state active
  acme seats 3: allowed plan, limit 3
  acme seats 4: denied limit_reached, limit 3

2026-02-27T00:00Z
  provider: acme's card starts failing
# Jan 31 renews on Feb 28; the invoice is a draft for an hour and then fails.
2026-02-28T10:59:59Z
  acme editor: allowed plan, state active
+1s
  acme editor, reports, exports: allowed grace, state grace, until 2026-03-07T11:00Z

# Seven days after the invoice was finalized, to the second.
2026-03-07T10:59:59Z
  acme editor: allowed grace
+1s
  acme reports, exports: allowed grace, state past_due
  acme editor: denied past_due, state past_due, plan pro, until 2026-03-21T11:00Z
  acme api_calls: denied past_due

+1d
  provider: acme puts in a good card
  provider: acme pays its latest invoice
  acme editor, exports: allowed plan, state active, plan pro
  acme seats: allowed plan, limit 3
