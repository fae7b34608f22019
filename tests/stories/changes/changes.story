# Upgrades, downgrades, quantities, add-ons: what is sold as what.

story an upgrade in mid-period keeps the item and its day, and gives more at once

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x3
  acme audit_log: denied not_in_plan, plan pro
  acme api_calls 200000: denied limit_reached, limit 100000
2026-03-20T00:00Z
  provider: acme changes pro_monthly to scale_monthly
  acme audit_log: allowed plan, plan scale
  acme api_calls 200000: allowed plan, limit 500000, resets 2026-04-10T00:00Z
  acme seats 3: allowed plan, limit 3
  acme retention: allowed plan, value 365


story a downgrade takes effect when the provider says so

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to scale_monthly x3
  acme projects 500: allowed plan, unlimited
  provider: acme changes scale_monthly to pro_monthly
  acme audit_log: denied not_in_plan, plan pro
  acme projects 21: denied limit_reached, limit 20
  acme retention: allowed plan, value 90


story a soft limit may be passed

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to scale_monthly
  acme api_calls 600000: allowed plan, limit 500000


story seats follow the quantity both ways

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x3
  acme seats 4: denied limit_reached, limit 3, remaining 3
  provider: acme changes pro_monthly to pro_monthly x5
  acme seats 4: allowed plan, limit 5
+1d
  provider: acme changes pro_monthly to pro_monthly x2
  acme seats 3: denied limit_reached, limit 2


story a change that waits for its payment is not live before

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme's card starts failing
  provider: acme changes pro_monthly to scale_monthly, once it is paid
  acme editor: allowed plan, plan pro, state active
  acme audit_log: denied not_in_plan
2026-03-10T10:00Z
  provider: acme puts in a good card
  provider: acme pays its latest invoice
  acme audit_log: allowed plan, plan scale


story a change that is never paid is dropped

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme's card starts failing
  provider: acme changes pro_monthly to scale_monthly, once it is paid
2026-03-12T00:00Z
  acme editor: allowed plan, plan pro, state active
  acme audit_log: denied not_in_plan


story an add-on adds to the plan, and the decision says which of them it took

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly and extra_calls_monthly
  acme api_calls 100000: allowed plan, limit 150000
  acme api_calls 100001: allowed add_on, limit 150000
  acme api_calls 150001: denied limit_reached, limit 150000
+1d
  provider: acme changes extra_calls_monthly to extra_calls_monthly x3
  acme api_calls 250000: allowed add_on, limit 250000
+1d
  provider: acme drops extra_calls_monthly
  acme api_calls 100001: denied limit_reached, limit 100000


story an add-on bought later opens its feature

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  acme audit_log: denied not_in_plan
  provider: acme adds audit_monthly
  acme audit_log: allowed add_on, plan audit, source add_on
  acme editor: allowed plan, plan pro


story an add-on bought alone comes on top of the free plan

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to extra_calls_monthly
  acme api_calls 1000: allowed plan, plan free, limit 51000
  acme api_calls 51000: allowed add_on, limit 51000
  acme editor: denied not_in_plan, plan free


story an add-on shares the fate of its subscription

2026-03-01T00:00Z
  provider: dunning ends in past_due
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly and audit_monthly
  provider: acme's card starts failing
2026-04-01T01:00Z
  acme audit_log: allowed grace, state grace
2026-04-08T01:00Z
  acme audit_log: denied past_due, plan audit


story an item of a metered price has no quantity and counts as one

2026-03-10T00:00Z
  provider: sells overflow_metered by usage for 10 a month
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly and overflow_metered
  acme projects 25: allowed add_on, limit 25
  acme projects 26: denied limit_reached, limit 25


story an item whose quantity is nothing buys nothing

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly and audit_monthly
  acme audit_log: allowed add_on
  provider: acme changes audit_monthly to audit_monthly x0
  acme audit_log: denied not_in_plan
  acme editor: allowed plan


story a price the catalog does not know is shown and grants nothing

2026-03-10T00:00Z
  provider: sells legacy_monthly for 4900 a month
  provider: acme signs up with a good card
  acme findings: none
  provider: acme subscribes to legacy_monthly
  acme findings: unmapped_price
  acme editor: denied not_in_plan, plan free
  provider: acme changes legacy_monthly to pro_monthly
  acme findings: none
  acme editor: allowed plan


story a plan known by its product is granted whatever its prices are called
catalog:
  version: 1
  features:
    editor: { kind: boolean }
    seats: { kind: level }
  plans:
    team:
      stripe: prod_team
      entitlements: { editor: true, seats: { limit: quantity } }

2026-03-10T00:00Z
  provider: sells promo_2019 for 100 a month as product prod_team
  provider: acme signs up with a good card
  provider: acme subscribes to promo_2019 x7
  acme editor: allowed plan, plan team
  acme seats 7: allowed plan, limit 7
