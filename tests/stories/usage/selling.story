# What is sold beside a plain number of units: units for each seat, shares that are carried over, units that are owed.

story each seat brings its calls, and a seat less takes them away without forgetting what was used
catalog selling

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to team_monthly x5 and more_seats_monthly x2 and more_calls_monthly
  acme seats: allowed plan, limit 7
  acme coins: allowed plan, limit 25
  product: acme consumes 250 calls: allowed plan, limit 750, used 250, because "100 for each of 7 `seats`"
2026-03-25T00:00Z
  owner: acme changes to 2 seats, no more_seats, no more_calls: applied downgrade, over calls 250 of 200 block_new, usage as it is
  acme calls: denied limit_reached, limit 200, used 250, because "100 for each of 2 `seats`"
  operator: override acme calls add 100
  product: acme consumes 1 calls: allowed override, limit 300, used 251
  operator: override acme seats limit 50
  acme calls: allowed override, limit 300, used 251
2026-04-10T00:00Z
  acme calls: allowed plan, limit 300, used 0


story seats are sold in packs, and whoever has another number from before keeps it
catalog selling

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to packs_monthly x7
  acme seats: allowed plan, limit 7
  owner: acme would change to 12 seats: refused quantity_not_sold
  owner: acme would change to 55 seats: refused quantity_not_sold
  owner: acme would change to team: quoted downgrade
  owner: acme changes to 15 seats: applied upgrade
  acme seats: allowed plan, limit 15
2026-04-10T01:00Z
  provider: bob signs up with a good card
  provider: bob subscribes to team_monthly x3
  owner: bob would change to packs: refused quantity_not_sold
  owner: bob would change to packs, 10 seats: quoted upgrade


story half of what is left is carried over, and what is carried for two months is gone after them
catalog selling

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to team_monthly x2
  product: acme consumes 20 mails: allowed plan, limit 100
  product: acme consumes 4 coins: allowed plan, limit 10
2026-04-10T01:00Z
  acme mails: allowed plan, limit 140, used 0
  acme coins: allowed plan, limit 16
2026-05-10T01:00Z
  acme mails: allowed plan, limit 170
  product: acme consumes 3 coins: allowed plan, limit 26, used 3
2026-06-10T01:00Z
  acme coins: allowed plan, limit 30, used 0
2026-07-10T01:00Z
  acme coins: allowed plan, limit 30, used 0


story what is used over the limit is taken from the next month, and from the one after it
catalog selling

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to team_monthly
  product: acme consumes 130 owed: allowed plan, limit 100, used 130, remaining 0
  product: acme reserves 120 owed as r1: allowed plan
  product: acme commits r1
2026-04-10T01:00Z
  product: acme consumes 10 owed: allowed plan, limit 0, used 10, remaining 0
2026-05-10T01:00Z
  acme owed: allowed plan, limit 40, used 0, remaining 40
  product: acme consumes 40 owed: allowed plan, used 40


story a day begins at local midnight, and a move gives no day twice
catalog selling

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to team_monthly
  product: acme consumes 10 daily: allowed plan, remaining 0, resets 2026-03-10T23:00Z
  product: acme consumes 8 weekly: allowed plan
2026-03-10T12:00Z
  operator: account acme linked to @acme in America/New_York
  acme daily: denied limit_reached, used 10, resets 2026-03-11T04:00Z
2026-03-10T23:00Z
  acme daily: denied limit_reached, used 10
2026-03-11T04:00Z
  product: acme consumes 10 daily: allowed plan, used 10, resets 2026-03-12T04:00Z
2026-03-11T12:00Z
  operator: account acme linked to @acme in Pacific/Auckland
  product: acme consumes 7 daily: allowed plan, used 7, resets 2026-03-12T11:00Z
2026-03-11T13:00Z
  operator: account acme linked to @acme in Europe/Berlin
  acme daily: allowed plan, used 7, resets 2026-03-12T23:00Z
  operator: account acme linked to @acme in Pacific/Auckland
  acme daily: allowed plan, used 7, resets 2026-03-12T11:00Z
  product: acme consumes 3 weekly: denied limit_reached, limited_by week, used 8, resets 2026-03-14T11:00Z
2026-03-14T10:59Z
  acme weekly: allowed plan
  product: acme consumes 3 weekly: denied limit_reached
+1m
  product: acme consumes 3 weekly: allowed plan


story a day's budget stops what would cost more, and another day has its own
catalog selling

2026-03-10T10:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to team_monthly
  product: acme consumes 8 images: allowed credit
  product: acme reserves 1 images as r1: allowed credit
  product: acme consumes 1 images: denied limit_reached, limited_by "budget 50 usd day", limit 9, used 8, resets 2026-03-10T23:00Z
  product: acme releases r1
  product: acme consumes 1 images: allowed credit
  acme images: denied limit_reached, limited_by "budget 50 usd day"
2026-03-10T23:00Z
  product: acme consumes 9 images: allowed credit
  acme images: denied limit_reached, limited_by "budget 50 usd day"
