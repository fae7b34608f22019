# What a plan change costs: as the provider's preview says it, which the formula has to say, too.

story a downgrade at once gives back what was paid, and that pays the next invoice
catalog money

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to scale_monthly
2026-04-16T00:00Z
  owner: acme changes to pro: applied downgrade, credit 4500, charge 1500, due 0 usd, next invoice 0 at 2026-05-01T00:00Z
  acme calls: allowed plan, plan pro, limit 1000


story more of a plan is paid for with the next invoice where the rule says so
catalog money

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
2026-04-16T00:00Z
  owner: acme changes to 3 seats: applied upgrade, credit 1500, charge 4500, due 0 usd, next invoice 12000 at 2026-05-01T00:00Z
  acme seats 3: allowed plan, limit 3


story less of a plan is given back with the next invoice where the rule says so
catalog money

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x3
2026-04-16T00:00Z
  owner: acme changes to 1 pro: applied downgrade, credit 4500, charge 1500, due 0 usd, next invoice 0
  acme seats 2: denied limit_reached, limit 1


story an add-on is bought, becomes more, and is dropped
catalog money

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
2026-04-16T00:00Z
  owner: acme changes to 2 extra_calls: applied upgrade, credit 0, charge 600, due 0 usd, next invoice 4800
  acme calls: allowed plan, limit 2000
2026-05-16T12:00Z
  owner: acme changes to 3 extra_calls: applied upgrade, credit 600, charge 900, next invoice 5100 at 2026-06-01T00:00Z
  acme calls: allowed plan, limit 2500
2026-06-16T00:00Z
  owner: acme changes to no extra_calls: applied downgrade, credit 900, charge 0, next invoice 2100
  acme calls: allowed plan, limit 1000


story a plan, its seats and an add-on change together and are billed together
catalog money

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly and extra_calls_monthly
2026-04-16T00:00Z
  owner: acme changes to scale, 2 seats, no extra_calls: applied upgrade, from pro to scale, credit 1800, charge 9000, due 7200 usd, next invoice 18000
  acme calls: allowed plan, limit 5000
  acme seats 2: allowed plan


story nothing is billed for a change that is not prorated
catalog money

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to scale_monthly
2026-04-16T00:00Z
  owner: acme changes to 2 seats: applied upgrade, credit 0, charge 0, due 0 usd, next invoice 18000 at 2026-05-01T00:00Z
  acme seats 2: allowed plan


story periods begin anew with the change where the rule says so
catalog money

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 400 calls: allowed plan
2026-04-16T00:00Z
  owner: acme would change to team: quoted upgrade, credit 1500, charge 12000, due 10500 usd, next invoice 12000 at 2026-05-16T00:00Z, counts 400 calls as 0
  owner: acme accepts the quote: applied upgrade
  acme calls: allowed plan, used 0, limit 9000, resets 2026-05-16T00:00Z


story from the month to the year
catalog money

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to scale_monthly
2026-04-16T00:00Z
  owner: acme would change to scale, paid yearly: quoted upgrade, credit 0, charge 109500, due 109500 usd, next invoice 109500 at 2027-04-16T00:00Z
  owner: acme changes to pro, paid yearly, 2 seats: applied downgrade, credit 4500, charge 70000, due 65500 usd, next invoice 73000 at 2027-04-01T00:00Z
  acme seats 2: allowed plan, plan pro
  acme calls: allowed plan, resets 2026-05-01T00:00Z


story from the year to the month
catalog money

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_yearly
  product: acme consumes 400 calls: allowed plan
2026-06-13T00:00Z
  owner: acme would change to pro, paid monthly: quoted downgrade, due 0 usd, credit 29200, charge 1800, next invoice 0 at 2026-07-01T00:00Z
  owner: acme changes to scale, paid monthly: applied upgrade, due 0 usd, credit 29200, charge 5400, next invoice 0 at 2026-07-01T00:00Z
  acme calls: allowed plan, limit 5000


story from the month to the year in the classic mode a period begins anew
catalog money

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly, billed the classic way
  product: acme consumes 400 calls: allowed plan, used 400
2026-04-16T00:00Z
  owner: acme would change to scale, paid yearly: quoted upgrade, credit 1500, charge 109500, due 108000 usd, next invoice 109500 at 2027-04-16T00:00Z, counts 400 calls as 0
  owner: acme accepts the quote: applied upgrade
  acme calls: allowed plan, used 0, limit 5000, resets 2026-05-16T00:00Z


story in a trial nothing is billed before its end, and the trial goes on
catalog money

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly, 14 days of trial
+3d
  owner: acme changes to scale, 2 seats: applied upgrade, due 0 usd, credit 0, charge 0, next invoice 18000 at 2026-04-15T00:00Z, the trial goes on
  acme calls: allowed trial, limit 5000, until 2026-04-15T00:00Z
2026-04-15T02:00Z
  acme calls: allowed plan, state active, limit 5000


story who owes pays before more is bought
catalog money

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme's card starts failing
2026-04-01T02:00Z
  acme exports: allowed grace, state grace
  owner: acme would change to scale: quoted upgrade, warns of payment_overdue
  owner: acme accepts the quote: failed upgrade
  acme calls: allowed grace, plan pro, limit 1000
+1h
  provider: acme puts in a good card
  provider: acme pays its latest invoice
  owner: acme changes to scale: applied upgrade, credit 2988, charge 8963, due 5975 usd, warns of nothing
  acme calls: allowed plan, limit 5000


story what is paused can be changed, and nothing is billed before it goes on
catalog money

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
+5d
  owner: acme pauses: applied
  acme exports: denied paused
  owner: acme pauses: refused not_possible_now
+5d
  owner: acme changes to scale: applied upgrade, warns of not_active, due 0 usd
  acme exports: denied paused
+5d
  owner: acme resumes: applied
  acme calls: allowed plan, plan scale, limit 5000
  owner: acme resumes: refused not_possible_now


story a trial is started, extended and ended
catalog money

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
+5d
  owner: acme starts the trial until 2026-04-20T00:00Z: applied
  acme exports: allowed trial, until 2026-04-20T00:00Z
+5d
  owner: acme extends the trial until 2026-04-25T00:00Z: applied
  owner: acme extends the trial until 2026-04-05T00:00Z: refused date_in_the_past
  acme exports: allowed trial, until 2026-04-25T00:00Z
+5d
  owner: acme ends the trial: applied
  acme exports: allowed plan, state active
  owner: acme ends the trial: refused not_possible_now


story who bought on the last of January is billed for the days February has
catalog money

2026-01-31T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
2026-02-14T00:00Z
  owner: acme changes to scale: applied upgrade, credit 1500, charge 4500, due 3000 usd, next invoice 9000 at 2026-02-28T00:00Z
2026-02-28T00:00Z
  acme calls: allowed plan, resets 2026-03-31T00:00Z
+1d
  owner: acme would change to pro, at the period's end: quoted downgrade, effective 2026-03-31T00:00Z, next invoice 3000 at 2026-03-31T00:00Z
  owner: acme accepts the quote: scheduled downgrade
2026-03-31T00:00Z
  owner: acme looks at the change: applied downgrade
  acme calls: allowed plan, limit 1000, resets 2026-04-30T00:00Z


story a currency without minor units is prorated to its unit
catalog money

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_yen
2026-04-11T05:00:07Z
  owner: acme changes to scale: applied upgrade, credit 330, charge 1056, due 726 jpy, next invoice 1600


story every line is rounded by itself
catalog money

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x3 and extra_calls_monthly
2026-04-12T07:13:29Z
  owner: acme changes to scale, 2 extra_calls: applied upgrade, credit 5984, charge 17577, due 11593 usd


story to leave at once gives back what is not used
catalog money

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to scale_monthly and extra_calls_monthly
2026-04-16T00:00Z
  owner: acme would change to free, 2 seats: refused unknown_price
  owner: acme changes to free: applied downgrade, from scale to free, credit 4800, due 0 usd, no next invoice
  acme exports: denied canceled
  acme calls: allowed plan, plan free, limit 100


story what is paid by use is not prorated
catalog money

2026-04-01T00:00Z
  provider: sells by_use_metered by usage
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly and by_use_metered
2026-04-16T00:00Z
  owner: acme changes to scale: applied upgrade, credit 1500, charge 4500, due 3000 usd
  acme calls: allowed plan, limit 5000
