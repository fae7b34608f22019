# First payments that fail: nothing is granted before money came.

story a first payment that fails grants nothing and expires after 23 hours

2026-03-01T00:00Z
  provider: acme signs up with a failing card
  provider: acme subscribes to pro_monthly
  acme exports, editor: denied no_subscription, state incomplete
  acme seats 1: allowed plan, plan free
2026-03-01T22:59:59Z
  acme editor: denied no_subscription, state incomplete
+1s
  acme editor: denied no_subscription, state expired


story a first payment made in time opens the subscription

2026-03-01T00:00Z
  provider: acme signs up with a failing card
  provider: acme subscribes to pro_monthly x2
  acme editor: denied no_subscription, state incomplete
2026-03-01T22:00Z
  provider: acme tries to pay its latest invoice and is declined
  acme editor: denied no_subscription, state incomplete
  provider: acme puts in a good card
  provider: acme pays its latest invoice
  acme editor: allowed plan, state active
  acme seats 2: allowed plan, limit 2
2026-03-02T12:00Z
  acme editor: allowed plan, state active


story a checkout that was left never becomes a subscription

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly, paying later
  acme editor: denied no_subscription, state incomplete
2026-03-03T00:00Z
  acme editor: denied no_subscription, state expired
  provider: acme subscribes to pro_monthly
  acme editor: allowed plan, state active


story a first payment that fails leaves an older subscription alone

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly as old
  provider: acme's card starts failing
  provider: acme subscribes to scale_monthly as new
  acme editor: allowed plan, plan pro
  acme audit_log: denied not_in_plan, plan pro


story without a free plan an unpaid first invoice leaves nothing
catalog no_free_plan

2026-03-01T00:00Z
  provider: acme signs up with a failing card
  provider: acme subscribes to team_monthly
  acme editor, seats: denied no_subscription, state incomplete, plan team
