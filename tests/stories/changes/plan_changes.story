# Plan changes that are asked for here: what they cost, when they come, and what is done at the provider.

story an upgrade is charged for the rest of the period and made at once
catalog changing

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x2
  product: acme consumes 400 calls: allowed plan, used 400
2026-04-16T00:00Z
  owner: acme would change to scale: quoted upgrade, from pro to scale, due 6000 usd, credit 3000, charge 9000, next invoice 18000 at 2026-05-01T00:00Z, rule 1, warns of nothing
  acme audit_log: denied not_in_plan
  owner: acme accepts the quote: applied upgrade, from pro to scale, due 6000 usd, usage as it is, over nothing, asked for
  owner: acme accepts the quote: applied
  acme audit_log: allowed plan, plan scale
  acme calls: allowed plan, limit 5000, used 400
  owner: acme would change to scale: refused same_as_now


story a downgrade is scheduled for the end of what is paid for, and comes by itself
catalog changing

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to scale_monthly
  operator: acme uses 12 projects
+10d
  owner: acme changes to pro: scheduled downgrade, from scale to pro, due 0 usd, next invoice 3000 at 2026-05-01T00:00Z, effective 2026-05-01T00:00Z, over projects 12 of 10 block_new
  acme audit_log: allowed plan, plan scale
  owner: acme would change to free: quoted downgrade, warns of another_scheduled
  owner: acme accepts the quote: refused change_scheduled
2026-05-01T00:00Z
  owner: acme looks at the change: applied downgrade, over projects 12 of 10 block_new, asked for
  acme audit_log: denied not_in_plan, plan pro
  acme projects: denied limit_reached, limit 10, used 12


story what waits for the customer to confirm is made once they have
catalog changing

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme puts in a card that asks for confirmation
2026-04-16T00:00Z
  owner: acme changes to scale: pending upgrade, from pro to scale, due 3000 usd
  acme audit_log: denied not_in_plan
  owner: acme changes to pro, 5 seats: refused change_under_way
+10m
  provider: acme confirms the payment
  owner: acme looks at the change: applied upgrade, due 3000 usd
  acme audit_log: allowed plan


story who fails to confirm may pay with another card
catalog changing

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme puts in a card that asks for confirmation
2026-04-16T00:00Z
  owner: acme changes to scale: pending upgrade
+10m
  provider: acme fails to confirm the payment
  owner: acme looks at the change: pending
  acme audit_log: denied not_in_plan, plan pro
+2h
  provider: acme puts in a good card
  provider: acme pays its latest invoice
  owner: acme looks at the change: applied
  acme audit_log: allowed plan


story what is never confirmed is never made
catalog changing

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme puts in a card that asks for confirmation
2026-04-16T00:00Z
  owner: acme changes to scale: pending upgrade
# Before Stripe gives up by itself, after 23 hours.
+22h30m
  owner: acme looks at the change: failed, because "it was not made or not paid within a day"
  acme audit_log: denied not_in_plan, plan pro
  acme exports: allowed plan, state active
  owner: acme would change to scale: quoted upgrade, warns of nothing


story a declined card buys nothing until it is paid
catalog changing

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme's card starts failing
2026-04-16T00:00Z
  owner: acme changes to scale, 2 seats: pending upgrade, due 7500 usd, credit 1500, charge 9000
  acme audit_log: denied not_in_plan, plan pro
  acme seats 2: denied limit_reached, limit 1
+1h
  provider: acme puts in a good card
  provider: acme pays its latest invoice
  acme audit_log: allowed plan, plan scale
  acme seats 2: allowed plan, limit 2
  owner: acme looks at the change: applied upgrade


story what waits for its payment is taken back, and nothing is bought or owed
catalog changing

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme's card starts failing
2026-04-16T00:00Z
  owner: acme changes to scale: pending upgrade
  owner: acme takes the change back: canceled
  acme exports: allowed plan, plan pro, state active
  provider: acme puts in a good card
  owner: acme changes to scale: applied upgrade, due 3000 usd
  acme audit_log: allowed plan


story what is scheduled is taken back before it takes effect
catalog changing

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to scale_monthly
+10d
  owner: acme changes to pro: scheduled downgrade
+5d
  owner: acme takes the change back: canceled
  owner: acme takes the change back: canceled
2026-05-02T00:00Z
  acme audit_log: allowed plan, plan scale
  owner: acme looks at the change: canceled


story a schedule released at the provider frees its change at once
catalog changing

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to scale_monthly
+10d
  owner: acme changes to pro: scheduled downgrade
  owner: acme changes to 3 seats: refused change_scheduled
+5d
  provider: acme's schedule is released
  owner: acme looks at the change: failed downgrade
  owner: acme changes to 3 seats: applied upgrade
2026-05-02T00:00Z
  acme audit_log: allowed plan, plan scale
  acme seats 3: allowed plan, limit 3


story a cancellation taken back at the provider frees its change at once
catalog changing

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to scale_monthly
+10d
  owner: acme changes to free: scheduled downgrade
+5d
  provider: acme takes the cancellation back
  owner: acme looks at the change: failed downgrade
  owner: acme changes to 3 seats: applied upgrade
2026-05-02T00:00Z
  acme audit_log: allowed plan, plan scale


story what was applied is not taken back but reverted, by the rule of that way
catalog changing

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
2026-04-16T00:00Z
  owner: acme changes to scale, 3 seats: applied upgrade, due 12000 usd
  owner: acme takes the change back: refused change_resolved
  owner: acme would go back: quoted downgrade, from scale to pro, effective 2026-05-01T00:00Z, next invoice 3000 at 2026-05-01T00:00Z
  owner: acme goes back: scheduled downgrade, from scale to pro
  acme seats 3: allowed plan, limit 3
2026-05-01T00:00Z
  acme seats 3: denied limit_reached, limit 1, plan pro
  owner: acme looks at the change: applied downgrade


story a plan that cools off cannot be left again before the period is over
catalog:
  version: 1
  features: { exports: { kind: boolean } }
  plans:
    free: { default: true }
    pro: { prices: { monthly: { amount: 3000, currency: usd, interval: month, stripe: pro_monthly } } }
    scale:
      prices: { monthly: { amount: 9000, currency: usd, interval: month, stripe: scale_monthly } }
      entitlements: { exports: true }
  policies:
    plan_change:
      - { from: pro, to: scale, when: now, proration: charge_now, cooling_off: period }
      - { when: now }

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
2026-04-16T00:00Z
  owner: acme changes to scale: applied upgrade
+1d
  owner: acme changes to pro: refused cooling_off
  owner: acme goes back: refused cooling_off
  owner: acme would change to pro, at the period's end: quoted downgrade, warns of other_than_policy
2026-05-01T00:00Z
  owner: acme changes to pro: applied downgrade, from scale to pro
  acme exports: denied not_in_plan


story whoever goes back and forth at the provider while a plan cools off is given nothing anew
catalog:
  version: 1
  features: { calls: { kind: metered, event: call }, projects: { kind: level, unit: project } }
  plans:
    free: { default: true }
    pro:
      prices: { monthly: { amount: 3000, currency: usd, interval: month, stripe: pro_monthly } }
      entitlements: { calls: { limit: 1000, every: month }, projects: 2 }
    scale:
      prices: { monthly: { amount: 9000, currency: usd, interval: month, stripe: scale_monthly } }
      entitlements: { calls: { limit: 5000, every: month }, projects: 9 }
  policies:
    plan_change:
      - { from: pro, to: scale, when: now, proration: charge_now, usage: reset, cooling_off: 30d }
      - { when: now, over_limit: grace, grace: 3d }

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 900 calls: allowed plan
+4d
  provider: acme changes pro_monthly to scale_monthly
  acme calls: allowed plan, used 0, limit 5000
  product: acme consumes 4000 calls: allowed plan
  product: acme consumes 9 projects: allowed plan
+1d
  owner: acme would change to pro: refused cooling_off
  provider: acme changes scale_monthly to pro_monthly
  owner: acme looks at the change: applied downgrade, from scale to pro
  acme calls: allowed grace, plan pro, used 4000, limit 5000
  acme projects: denied limit_reached, used 9, limit 9
+1d
  provider: acme changes pro_monthly to scale_monthly
  acme calls: allowed plan, used 4000, limit 5000
+1d
  provider: acme changes scale_monthly to pro_monthly
  acme calls: allowed grace, used 4000, limit 5000
2026-04-09T00:00Z
  acme calls: denied limit_reached, used 4000, limit 1000
2026-05-20T00:00Z
  product: acme consumes 900 calls: allowed plan
  provider: acme changes pro_monthly to scale_monthly
  acme calls: allowed plan, used 0, limit 5000


story who cancels has access until the end of what is paid for
catalog changing

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x3
+10d
  owner: acme changes to free: scheduled downgrade, from pro to free, due 0 usd, no next invoice, effective 2026-05-01T00:00Z
  acme exports: allowed plan, until 2026-05-01T00:00Z
2026-04-30T23:59:59Z
  acme exports: allowed plan
+1s
  acme exports: denied canceled
  acme calls: allowed plan, plan free, limit 100
  owner: acme looks at the change: applied downgrade, from pro to free
  owner: acme changes to pro: refused no_subscription_to_change
  owner: acme goes back: refused not_revertible


story who cancels and goes on after all has lost nothing
catalog changing

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme cancels at period end
+10d
  acme exports: allowed plan, until 2026-05-01T00:00Z
  owner: acme goes on after all: applied
  acme exports: allowed plan, until none
  owner: acme goes on after all: refused not_possible_now
2026-05-02T00:00Z
  acme exports: allowed plan, state active
  owner: acme changes to free: scheduled downgrade
+1d
  owner: acme takes the change back: canceled
2026-06-02T00:00Z
  acme exports: allowed plan, state active


story a change at a given date comes on that date
catalog changing

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
+5d
  owner: acme changes to scale, at 2026-03-01T00:00Z: refused date_in_the_past
  owner: acme changes to scale, at 2026-04-16T00:00Z: scheduled upgrade, effective 2026-04-16T00:00Z, credit 1500, charge 4500, due 0 usd
2026-04-15T23:59:59Z
  acme audit_log: denied not_in_plan
+1s
  acme audit_log: allowed plan, plan scale
  owner: acme looks at the change: applied upgrade
  owner: acme would change to scale, 2 seats: quoted upgrade, due 4500 usd


story a quote holds for an hour, and only for what it was made on
catalog changing

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
+1d
  owner: acme would change to scale: quoted upgrade
+1h
  owner: acme accepts the quote: refused quote_expired
  owner: acme would change to scale: quoted upgrade
  operator: override acme projects limit 15
  owner: acme accepts the quote: refused account_changed
  owner: acme would change to scale: quoted upgrade
  operator: catalog sells free with 3 projects
  owner: acme accepts the quote: refused catalog_changed
  owner: acme changes to gold: refused unknown_plan
  owner: acme changes to 2 lamps: refused quantity_not_sold
  owner: acme changes to scale, paid daily: refused unknown_price


story who pays by invoice has what they changed to before they pay
catalog changing

2026-04-01T00:00Z
  provider: acme signs up with no card
  provider: acme subscribes to pro_monthly, by invoice due in 30 days
2026-04-16T00:00Z
  owner: acme changes to scale: applied upgrade, due 3000 usd
  acme audit_log: allowed plan, plan scale


story what is canceled in the portal can be changed, and ends all the same
catalog changing

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme cancels at period end
2026-04-16T00:00Z
  owner: acme would change to scale: quoted upgrade, warns of pending_cancellation, no next invoice
  owner: acme accepts the quote: applied upgrade, due 3000 usd
  acme audit_log: allowed plan, until 2026-05-01T00:00Z
2026-05-01T00:00Z
  acme audit_log: denied canceled


story a schedule of somebody else's is not touched
catalog changing

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme will be on scale_monthly from 2026-05-01T00:00Z
2026-04-16T00:00Z
  owner: acme would change to pro, 3 seats: quoted upgrade, warns of scheduled_elsewhere
  owner: acme accepts the quote: failed upgrade
  acme seats 2: denied limit_reached, limit 1
2026-05-01T00:00Z
  acme audit_log: allowed plan, plan scale
  owner: acme looks at the change: applied upgrade, made at the provider, from pro to scale


story what was never paid for cannot be changed
catalog changing

2026-04-01T00:00Z
  provider: acme signs up with a failing card
  provider: acme subscribes to pro_monthly, paying later
  acme exports: denied no_subscription
  owner: acme changes to scale: refused no_subscription_to_change


story who changes the plan keeps every seat, is charged for every seat, and comes back with as many
catalog changing

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x55
2026-04-16T00:00Z
  owner: acme changes to scale: applied upgrade, from pro to scale, credit 82500, charge 247500, due 165000 usd
  acme seats: allowed plan, plan scale, limit 55
  owner: acme changes to pro: scheduled downgrade, from scale to pro, due 0 usd
2026-05-01T02:00Z
  acme seats: allowed plan, plan pro, limit 55


story who changes at the provider and loses the seats there has the seats that are paid for
catalog changing

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x55
2026-04-16T00:00Z
  provider: acme changes pro_monthly to scale_monthly x1
  acme seats: allowed plan, plan scale, limit 1
  acme seats 2: denied limit_reached, limit 1
  owner: acme looks at the change: applied upgrade, from pro to scale, made at the provider


story a planned change stays planned while grace gives what was paid for last

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x2, by invoice due in 3 days
  provider: acme pays its latest invoice
  owner: acme changes to 8 seats: applied upgrade
  owner: acme goes back: scheduled, effective 2026-04-01T00:00Z
  acme seats 8: allowed plan, limit 8
2026-03-05T00:00Z
  acme seats 3: denied limit_reached, limit 2, state grace
  owner: acme takes the change back: canceled
  provider: acme pays its latest invoice
  acme seats 8: allowed plan, limit 8
2026-04-02T00:00Z
  acme seats 8: allowed plan, limit 8


story a planned change that is made at the provider before its date plans nothing any more

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x8
  owner: acme changes to 2 seats: scheduled, effective 2026-04-01T00:00Z
2026-03-05T00:00Z
  provider: acme changes pro_monthly to pro_monthly x2
  acme seats 3: denied limit_reached, limit 2
  owner: acme looks at the change: applied, asked for
  provider: acme changes pro_monthly to pro_monthly x5
2026-04-02T00:00Z
  acme seats 5: allowed plan, limit 5
