# Plans and add-ons that are bought by several items: each seat, flat, and what is used.

story only what is paid for each seat counts seats
catalog parts

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x3 and pro_platform and pro_calls
  acme seats 3: allowed plan, limit 3, plan pro
  acme seats 4: denied limit_reached, limit 3
  acme calls: allowed plan, limit 5000


story a seat more of a plan in several parts is an upgrade, charged for that seat alone
catalog parts

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x3 and pro_platform and pro_calls
2026-04-16T00:00Z
  owner: acme changes to 4 seats: applied upgrade, credit 13500, charge 18000, due 4500 usd, next invoice 37500 at 2026-05-01T00:00Z
  acme seats 4: allowed plan, limit 4
  owner: acme changes to 2 seats: scheduled downgrade, due 0 usd
2026-05-01T02:00Z
  acme seats 3: denied limit_reached, limit 2


story a switch takes all items of the plan along, and its seats
catalog parts

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to starter_monthly x2 and starter_calls
2026-04-16T00:00Z
  owner: acme changes to pro: applied upgrade, from starter to pro, credit 3000, charge 9750, due 6750 usd, next invoice 19500 at 2026-05-01T00:00Z
  acme exports: allowed plan, plan pro
  acme seats 2: allowed plan, limit 2
+1d
  owner: acme changes to starter: scheduled downgrade, from pro to starter
2026-05-01T02:00Z
  acme exports: denied not_in_plan, plan starter
  acme calls: allowed plan, plan starter, limit 1000
  acme seats 2: allowed plan, limit 2
  acme findings: none


story a plan without a usage part leaves no item of the other one behind
catalog parts

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x2 and pro_platform and pro_calls
2026-04-16T00:00Z
  owner: acme changes to fixed: applied upgrade, credit 9750, charge 12000, due 2250 usd, next invoice 24000 at 2026-05-01T00:00Z
  acme calls: allowed plan, plan fixed, limit 9000
  acme seats 2: allowed plan, limit 2
  owner: acme would go back: quoted downgrade
2026-05-01T02:00Z
  acme exports: allowed plan, plan fixed


story what was changed goes back with all its parts
catalog parts

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to starter_monthly x2 and starter_calls
2026-04-16T00:00Z
  owner: acme changes to pro, 5 seats: applied upgrade, from starter to pro
  acme seats 5: allowed plan, limit 5
  owner: acme goes back: scheduled downgrade, from pro to starter
2026-05-01T02:00Z
  acme seats 2: allowed plan, plan starter, limit 2
  acme seats 3: denied limit_reached


story an add-on is bought with all its parts, counted by one of them, and dropped with all
catalog parts

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to starter_monthly and starter_calls
2026-04-16T00:00Z
  owner: acme changes to 2 archive: applied upgrade, credit 0, charge 600, due 600 usd, next invoice 4200
  acme calls: allowed plan, limit 2000
2026-05-02T00:00Z
  owner: acme changes to no archive: scheduled downgrade
2026-06-01T02:00Z
  acme calls: allowed plan, limit 1000
  owner: acme would change to 1 archive: quoted upgrade


story the year is paid for the part that is sold by the year
catalog parts

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to starter_monthly x2 and starter_calls
2026-04-16T00:00Z
  owner: acme changes to starter, paid yearly: applied upgrade, next invoice 0 at 2026-05-01T00:00Z
  acme seats 2: allowed plan, plan starter, limit 2
