# Who lives by a test clock of the provider lives in its time, everywhere: it stands still until it is advanced.

story windows, rollover and the ladder follow the test clock, and nobody else's time
catalog moving

2026-03-05T00:00Z
  provider: dunning ends in past_due
  provider: acme signs up on a test clock, with a good card, when that shows 2027-01-10T12:00Z
  provider: acme subscribes to pro_monthly
  product: acme consumes 950 calls: allowed plan, used 950, remaining 50, resets 2027-02-10T12:00Z
  acme mails: allowed plan, used 0, resets 2027-02-01T00:00Z
# Everybody else's month is over.
2026-05-01T00:00Z
  product: acme consumes 51 calls: denied limit_reached, used 950, resets 2027-02-10T12:00Z
  provider: the test clock of acme is advanced to 2027-02-05T00:00Z
  acme calls: allowed plan, used 950, remaining 50
  acme mails: allowed plan, used 0, resets 2027-03-01T00:00Z
  provider: the test clock of acme is advanced to 2027-02-10T14:00Z
  acme calls: allowed plan, used 0, limit 1050, resets 2027-03-10T12:00Z
  provider: acme's card starts failing
  provider: the test clock of acme is advanced to 2027-03-11T00:00Z
  acme calls: allowed grace, state grace, until 2027-03-17T13:00Z
  provider: the test clock of acme is advanced to 2027-03-18T00:00Z
  acme calls: denied past_due, state past_due, until 2027-03-31T13:00Z
# Nothing happens to it while its clock stands still.
2027-09-01T00:00Z
  acme calls: denied past_due, state past_due, until 2027-03-31T13:00Z
  provider: the test clock of acme is advanced to 2027-04-01T00:00Z
  acme calls: allowed plan, plan free, limit 10, resets 2027-04-10T12:00Z
  provider: acme puts in a good card
  provider: acme pays its latest invoice
  acme calls: allowed plan, plan pro


story a test clock that is behind is lived by as well
catalog moving

2027-03-05T00:00Z
  provider: acme signs up on a test clock, with a good card, when that shows 2026-01-10T12:00Z
  provider: acme subscribes to pro_monthly, 14 days of trial
  product: acme consumes 1000 calls: allowed trial, used 1000, resets 2026-01-24T12:00Z
  provider: the test clock of acme is advanced to 2026-01-20T00:00Z
  provider: acme extends the trial until 2026-02-15T00:00Z
  product: acme consumes 1 calls: denied limit_reached, resets 2026-02-15T00:00Z
  provider: the test clock of acme is advanced to 2026-02-15T02:00Z
  acme calls: allowed plan, used 0, resets 2026-03-15T00:00Z
  provider: acme cancels at period end
  acme calls: allowed plan, plan pro, until 2026-03-15T00:00Z
  provider: the test clock of acme is advanced to 2026-03-15T00:00Z
  acme calls: allowed plan, plan free


story a plan change is quoted and charged by the test clock
catalog money

2026-03-05T00:00Z
  provider: acme signs up on a test clock, with a good card, when that shows 2027-04-01T00:00Z
  provider: acme subscribes to pro_monthly x3
  provider: the test clock of acme is advanced to 2027-04-16T00:00Z
  owner: acme changes to 3 extra_calls: applied upgrade, credit 0, charge 900
  acme calls: allowed plan, limit 2500


story a plan cools off by the test clock
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
      - { from: pro, to: scale, when: now, proration: charge_now, cooling_off: 10d }
      - { when: now }

2026-03-05T00:00Z
  provider: acme signs up on a test clock, with a good card, when that shows 2027-04-01T00:00Z
  provider: acme subscribes to pro_monthly
  provider: the test clock of acme is advanced to 2027-04-16T00:00Z
  owner: acme changes to scale: applied upgrade
  owner: acme changes to pro: refused cooling_off
  provider: the test clock of acme is advanced to 2027-04-25T00:00Z
  owner: acme changes to pro: refused cooling_off
# Everybody else's ten days are over.
2026-04-05T00:00Z
  owner: acme changes to pro: refused cooling_off
  provider: the test clock of acme is advanced to 2027-04-26T00:00Z
  owner: acme changes to pro: applied downgrade, from scale to pro
  acme exports: denied not_in_plan
