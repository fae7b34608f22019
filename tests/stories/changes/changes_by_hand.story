# Plan changes of subscriptions that nobody bills but whoever states them: carrying a quote out states them anew.

story a subscription stated by hand is changed as quoted, by the same rules
catalog rules

2026-04-01T00:00Z
  operator: account acme
  operator: subscription own of acme is active on large since 2026-04-01T00:00Z, version 1
  operator: acme uses 12 projects
  product: acme consumes 1000 calls: allowed plan
2026-04-16T00:00Z
  owner: acme would change to converting: quoted downgrade, due 0 usd, next invoice 3000 at 2026-05-01T00:00Z, counts 1000 calls as 250
  owner: acme accepts the quote: applied downgrade, from large to converting, counts 1000 calls as 250, asked for
  acme calls: allowed plan, plan converting, used 250, limit 1000
  owner: acme changes to gracing: applied downgrade, over projects 12 of 10 grace until 2026-04-23T00:00Z, leaves 50 projects until 2026-04-23T00:00Z
  acme projects 38: allowed grace, limit 50
  owner: acme goes back: applied upgrade
  acme projects: allowed plan, limit 50
2026-05-01T00:00Z
  acme calls: allowed plan, used 0, resets 2026-06-01T00:00Z


story a statement that changes a subscription by itself is settled like any other
catalog rules

2026-04-01T00:00Z
  operator: account acme
  operator: subscription own of acme is active on large since 2026-04-01T00:00Z, version 1
  product: acme consumes 1000 calls: allowed plan
+1d
  operator: subscription own of acme is active on resetting since 2026-04-01T00:00Z, version 2
  owner: acme looks at the change: applied downgrade, made at the provider, counts 1000 calls as 0
  acme calls: allowed plan, used 0


story an end by hand comes on its date, unless it is taken back
catalog changing

2026-04-01T00:00Z
  operator: account acme
  operator: subscription own of acme is active on pro since 2026-04-01T00:00Z, version 1
  operator: acme uses 6 projects
+1d
  owner: acme changes to free: scheduled downgrade, effective 2026-05-01T00:00Z
  owner: acme takes the change back: canceled
  acme exports: allowed plan, until none
  owner: acme changes to free: scheduled downgrade, over projects 6 of 2 block_new
  owner: acme would change to scale, paid monthly: quoted upgrade, warns of pending_cancellation, warns of another_scheduled
  owner: acme accepts the quote: refused change_scheduled
2026-04-30T23:59:59Z
  acme exports: allowed plan
+1s
  acme exports: denied canceled
  acme projects: denied limit_reached, plan free, limit 2, used 6
  owner: acme looks at the change: applied downgrade, from pro to free, over projects 6 of 2 block_new


story a change by hand at the end of the period is known ahead and comes by itself
catalog changing

2026-04-01T00:00Z
  operator: account acme
  operator: subscription own of acme is active on scale x3 since 2026-04-01T00:00Z, version 1
+1d
  owner: acme changes to pro, 2 seats, paid monthly: scheduled downgrade, effective 2026-05-01T00:00Z
  acme seats 3: allowed plan, limit 3
2026-05-01T00:00Z
  acme seats 3: denied limit_reached, plan pro, limit 2
  owner: acme looks at the change: applied downgrade, from scale to pro
  owner: acme changes to 5 seats, 1 extra_calls: applied upgrade
  acme seats 5: allowed plan, limit 5
  acme calls: allowed plan, limit 1500


story a subscription by hand is paused, goes on, and has a trial
catalog changing

2026-04-01T00:00Z
  operator: account acme
  operator: subscription own of acme is active on pro since 2026-04-01T00:00Z, version 1
  owner: acme pauses: applied
  acme exports: denied paused
+1d
  owner: acme resumes: applied
  acme exports: allowed plan
  owner: acme starts the trial until 2026-04-10T00:00Z: applied
  acme exports: allowed trial, until 2026-04-10T00:00Z
+1d
  owner: acme extends the trial until 2026-04-12T00:00Z: applied
  acme exports: allowed trial, until 2026-04-12T00:00Z
+1d
  owner: acme ends the trial: applied
  acme exports: allowed plan, state active
  owner: acme goes on after all: refused not_possible_now
  operator: subscription own of acme is active on pro since 2026-04-01T00:00Z, ending 2026-05-01T00:00Z, version 9
  owner: acme goes on after all: applied
2026-05-02T00:00Z
  acme exports: allowed plan, until none


story who buys by hand and at the provider says which subscription is to change
catalog changing

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  operator: account acme
  operator: subscription own of acme is active on scale since 2026-04-01T00:00Z, version 1
+1d
  owner: acme would change to pro, paid monthly: quoted downgrade, warns of several_subscriptions
  owner: acme changes to 3 seats, of own: applied upgrade, from scale to scale
  acme seats 4: allowed plan, limit 4
