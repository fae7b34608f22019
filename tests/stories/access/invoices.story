# What paying, writing off and voiding do to access.

story an invoice written off makes the subscription active though nobody paid

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme's card starts failing
2026-04-09T00:00Z
  acme editor: denied past_due
  provider: acme's latest invoice is written off
  acme editor: allowed plan, state active


story an invoice voided by mistake no longer stands in the way

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme's card starts failing
2026-04-09T00:00Z
  acme editor: denied past_due
  provider: acme's latest invoice is voided
  acme editor: allowed plan, state active


story a declined attempt changes nothing

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme's card starts failing
2026-04-01T02:00Z
  acme editor: allowed grace, until 2026-04-08T01:00Z
  provider: acme tries to pay its latest invoice and is declined
  acme editor: allowed grace, until 2026-04-08T01:00Z


story an invoice paid by bank transfer counts as paid

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme's card starts failing
2026-04-09T00:00Z
  acme editor: denied past_due
  provider: acme pays its latest invoice by bank transfer
  acme editor: allowed plan, state active


story a customer who pays by invoice has access until it is overdue, and the ladder counts from the due date

2026-03-01T00:00Z
  provider: dunning ends in past_due
  provider: acme signs up with no card
  provider: acme subscribes to pro_monthly x5, by invoice due in 30 days
  acme editor: allowed plan, state active
  acme seats 5: allowed plan, limit 5
2026-03-30T23:59:59Z
  acme editor: allowed plan, state active
+1s
  acme editor: allowed grace, state grace, until 2026-04-07T00:00Z
2026-04-07T00:00Z
  acme editor: denied past_due, state past_due
  acme exports: allowed grace


story a customer who pays the invoice in time never notices

2026-03-01T00:00Z
  provider: acme signs up with no card
  provider: acme subscribes to pro_monthly, by invoice due in 14 days
2026-03-14T00:00Z
  provider: acme pays its latest invoice by bank transfer
2026-03-16T00:00Z
  acme editor: allowed plan, state active


story an overdue invoice that is paid late brings everything back

2026-03-01T00:00Z
  provider: acme signs up with no card
  provider: acme subscribes to pro_monthly, by invoice due in 14 days
2026-03-16T00:00Z
  acme editor: allowed grace
2026-03-20T00:00Z
  provider: acme pays its latest invoice by bank transfer
  acme editor: allowed plan, state active
