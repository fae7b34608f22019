# A failed renewal and the access ladder. Standard: 7 days full access, 14 days read and export, then the free plan,
# counted from the date of the oldest unpaid invoice.

story a failed renewal walks down the ladder to the second, and paying brings everything back

2026-01-31T10:00Z
  provider: dunning ends in past_due
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x3
  acme exports, editor: allowed plan, plan pro, state active
  acme seats 3: allowed plan, limit 3, remaining 3
  acme seats 4: denied limit_reached, limit 3

2026-02-27T00:00Z
  provider: acme's card starts failing
  acme editor: allowed plan, state active

# January 31 renews on February 28; the invoice is a draft for an hour and then fails.
2026-02-28T11:00Z
  acme editor, reports, exports: allowed grace, state grace, until 2026-03-07T11:00Z
  acme seats 3: allowed grace, limit 3
2026-03-07T10:59:59Z
  acme editor: allowed grace, state grace
+1s
  acme reports, exports: allowed grace, state past_due
  acme editor: denied past_due, state past_due, plan pro, until 2026-03-21T11:00Z
  acme seats, api_calls: denied past_due
  acme retention: allowed grace, value 90
2026-03-21T10:59:59Z
  acme exports: allowed grace, state past_due
+1s
  acme exports, editor, reports: denied past_due, state past_due
  acme seats 1: allowed plan, plan free, limit 1
  acme api_calls: allowed plan, plan free, limit 1000

+1d
  provider: acme puts in a good card
  provider: acme pays its latest invoice
  acme exports, editor, reports: allowed plan, plan pro, state active
  acme seats 3: allowed plan, plan pro, limit 3


story looking late skips no step of the ladder

2026-03-01T00:00Z
  provider: dunning ends in past_due
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme's card starts failing
# Nobody looks between the renewal on April 1 and the middle of the second step.
2026-04-12T00:00Z
  acme exports: allowed grace, state past_due, until 2026-04-22T01:00Z
  acme editor: denied past_due


story nobody looks until the ladder has ended

2026-03-01T00:00Z
  provider: dunning ends in past_due
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme's card starts failing
2026-04-22T01:00Z
  acme exports, editor: denied past_due
  acme api_calls: allowed plan, plan free


story a second unpaid renewal does not start the ladder again

2026-03-01T00:00Z
  provider: dunning ends in past_due
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme's card starts failing
2026-05-01T02:00Z
  acme exports, editor: denied past_due, state past_due
# Only the newest invoice decides the status: paying it makes the subscription active although April is owed.
+1h
  provider: acme puts in a good card
  provider: acme pays its latest invoice
  acme editor: allowed plan, state active


story paying an older invoice is not enough, and the ladder then counts from the newer one

2026-03-01T00:00Z
  provider: dunning ends in past_due
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme's card starts failing
2026-05-01T02:00Z
  acme editor: denied past_due
  provider: acme puts in a good card
  provider: acme pays its oldest invoice
  acme editor: allowed grace, state grace, until 2026-05-08T01:00Z


story a ladder without a free plan ends in nothing
catalog no_free_plan

2026-03-01T00:00Z
  provider: dunning ends in past_due
  provider: acme signs up with a good card
  provider: acme subscribes to team_monthly x2
  provider: acme's card starts failing
2026-04-04T00:59:59Z
  acme editor, reports: allowed grace, state grace
+1s
  acme editor: denied past_due
  acme reports: allowed grace, state past_due
2026-04-07T00:59:59Z
  acme reports: allowed grace, state past_due
+1s
  acme reports, editor, seats: denied past_due, state past_due, plan team


story a catalog that says nothing of arrears gives seven days
catalog:
  version: 1
  features:
    editor: { kind: boolean }
  plans:
    solo:
      prices: { monthly: { amount: 900, currency: usd, interval: month, stripe: solo_monthly } }
      entitlements: { editor: true }

2026-03-01T00:00Z
  provider: dunning ends in past_due
  provider: acme signs up with a good card
  provider: acme subscribes to solo_monthly
  provider: acme's card starts failing
2026-04-08T00:59:59Z
  acme editor: allowed grace
+1s
  acme editor: denied past_due


story a retry that succeeds ends the grace without anybody doing anything

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme's card starts failing
2026-04-01T01:00Z
  acme editor: allowed grace
+12h
  provider: acme puts in a good card
  acme editor: allowed grace
# The first retry comes a day after the first attempt.
2026-04-02T01:00Z
  acme editor: allowed plan, state active


story when dunning gives up the subscription is canceled

2026-03-01T00:00Z
  provider: dunning ends in canceled
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme's card starts failing
2026-04-15T00:59:59Z
  acme exports: allowed grace, state past_due
+1s
  acme exports, editor: denied canceled, state canceled
  acme seats 1: allowed plan, plan free


story unpaid falls to the free plan, and paying the newest invoice makes it active

2026-03-01T00:00Z
  provider: dunning ends in unpaid
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x2
  provider: acme's card starts failing
2026-04-15T00:59:59Z
  acme exports: allowed grace, state past_due
+1s
  acme exports, editor: denied unpaid, state unpaid
  acme api_calls: allowed plan, plan free, limit 1000
2026-04-20T00:00Z
  provider: acme puts in a good card
  acme editor: denied unpaid
  provider: acme pays its latest invoice
  acme exports, editor: allowed plan, state active
  acme seats 2: allowed plan, limit 2


story unpaid without a free plan leaves nothing
catalog no_free_plan

2026-03-01T00:00Z
  provider: dunning ends in unpaid
  provider: acme signs up with a good card
  provider: acme subscribes to team_monthly
  provider: acme's card starts failing
2026-04-15T01:00Z
  acme editor, reports, seats: denied unpaid, state unpaid


story a plan with a ladder of its own keeps access longer than the others, and ends as a plan below it
catalog:
  version: 1
  features:
    editor: { kind: boolean }
    calls: { kind: metered }
  plans:
    free: { default: true, entitlements: { calls: { limit: 10, every: month } } }
    pro:
      prices: { monthly: { amount: 900, currency: usd, interval: month, stripe: pro_monthly } }
      entitlements: { editor: true, calls: { limit: 100, every: month } }
    team:
      prices: { monthly: { amount: 9900, currency: usd, interval: month, stripe: team_monthly } }
      entitlements: { editor: true, calls: { limit: 1000, every: month } }
      policies: { past_due: [{ for: 30d, access: full }, { then: pro }] }

2026-03-01T00:00Z
  provider: dunning ends in past_due
  provider: acme signs up with a good card
  provider: globex signs up with a good card
  provider: acme subscribes to team_monthly
  provider: globex subscribes to pro_monthly
  provider: acme's card starts failing
  provider: globex's card starts failing
2026-04-08T01:00Z
  acme editor: allowed grace, state grace, plan team
  globex editor: denied past_due, state past_due
2026-05-01T00:59:59Z
  acme calls: allowed grace, limit 1000
+1s
  acme editor: allowed plan, plan pro, state past_due
  acme calls: allowed plan, plan pro, limit 100
