# Cancellations: when access ends, and what brings it back.

story a cancellation at period end keeps access until that second

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
2026-03-10T00:00Z
  provider: acme cancels at period end
  acme editor: allowed plan, state active, until 2026-04-01T00:00Z
2026-03-31T23:59:59Z
  acme editor: allowed plan
+1s
  acme exports, editor: denied canceled, state canceled
  acme seats 1: allowed plan, plan free


story a cancellation from the portal, a bare cancel_at, counts the same

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
2026-03-10T00:00Z
  provider: acme cancels as of 2026-04-01T00:00Z
  acme editor: allowed plan, until 2026-04-01T00:00Z
2026-03-31T23:59:59Z
  acme editor: allowed plan
+1s
  acme editor: denied canceled, state canceled


story a cancellation in mid-period ends access at that second

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme cancels as of 2026-03-20T15:30Z
2026-03-20T15:29:59Z
  acme editor: allowed plan
+1s
  acme editor: denied canceled


story access ends at ended_at and not when the cancellation was asked for

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_yearly
# Stripe sets canceled_at to this very instant.
2026-03-02T00:00Z
  provider: acme cancels at period end
  acme editor: allowed plan, state active
2026-12-01T00:00Z
  acme editor: allowed plan, state active
2027-03-01T00:00Z
  acme editor: denied canceled


story a cancellation taken back leaves no trace

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme cancels at period end
2026-03-20T00:00Z
  provider: acme takes the cancellation back
  acme editor: allowed plan, until none
2026-04-01T02:00Z
  acme editor: allowed plan, state active


story a portal cancellation taken back leaves no trace

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme cancels as of 2026-03-20T00:00Z
2026-03-10T00:00Z
  provider: acme takes the cancellation back
2026-03-20T02:00Z
  acme editor: allowed plan, until none


story a subscription made to end ends

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly, ending 2026-05-15T00:00Z
2026-05-14T23:59:59Z
  acme editor: allowed plan, state active
+1s
  acme editor: denied canceled


story what was canceled never revives, and a new subscription takes its place

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly as first
2026-03-10T00:00Z
  provider: acme cancels now
  acme editor: denied canceled, state canceled
2026-03-11T00:00Z
  acme editor: denied canceled
  provider: acme subscribes to scale_monthly as second
  acme editor: allowed plan, plan scale, state active
  acme audit_log: allowed plan, plan scale
2026-04-11T02:00Z
  provider: acme/second cancels now
  acme audit_log: denied canceled, plan scale


story a renewal that falls on the end of a canceled subscription does not happen

2026-01-31T10:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme cancels at period end
2026-02-28T10:00Z
  acme editor: denied canceled
2026-03-31T12:00Z
  acme editor: denied canceled


story a customer deleted at the provider keeps the account, without what was bought

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  acme editor: allowed plan
2026-03-05T00:00Z
  provider: acme is deleted
  acme editor: denied canceled, state canceled
  acme seats 1: allowed plan, plan free


story after a cancellation there is no plan left where none is free
catalog no_free_plan

2026-03-01T00:00Z
  provider: acme signs up with a good card
  acme editor: denied no_subscription, plan none
  provider: acme subscribes to team_monthly
  acme editor: allowed plan
2026-03-05T00:00Z
  provider: acme cancels now
  acme editor, reports, seats: denied canceled
