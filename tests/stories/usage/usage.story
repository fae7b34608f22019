# What is used: counted exactly, once for each id, in its window; a change of plan changes the units, not the usage.

story of many at once exactly as many are allowed as there is room for

2026-03-01T00:00Z
  operator: account acme
  product: acme consumes 7 api_calls, 150 at once: 142 allowed
  acme api_calls: allowed plan, limit 1000, used 994, remaining 6
  acme api_calls 7: denied limit_reached, used 994
  product: acme consumes 6 api_calls: allowed plan, used 1000, remaining 0
  product: acme consumes 1 api_calls: denied limit_reached, used 1000, resets 2026-04-01T00:00Z


story a retry counts once, and what was denied stays denied

2026-03-01T00:00Z
  operator: account acme
  product: acme consumes 600 api_calls as req_1: allowed plan, used 600, remaining 400
  product: acme consumes 600 api_calls as req_2: denied limit_reached, used 600
  product: acme consumes 300 api_calls as req_3: allowed plan, used 900
  product: acme consumes 600 api_calls again as req_1: allowed plan, used 600, remaining 400
  product: acme consumes 601 api_calls as req_1: refused id_conflict
  product: acme consumes 600 api_calls by ann as req_1: refused id_conflict
  acme api_calls: allowed plan, used 900
  operator: override acme api_calls limit 5000
  product: acme consumes 600 api_calls again as req_2: denied limit_reached, used 600
  acme api_calls: allowed override, used 900, limit 5000
+40d
  product: acme consumes 600 api_calls again as req_2: denied limit_reached
  product: acme consumes 600 api_calls again as req_1: allowed plan, used 600, limit 1000
  acme api_calls: allowed override, used 0


story what nobody has or nobody counts is not used up

2026-03-01T00:00Z
  operator: account acme
  product: acme consumes 1 exports: refused not_countable
  product: acme reserves 1 retention as res_1: refused not_countable
  product: acme consumes 1 teleport: denied unknown_feature
  product: nobody consumes 1 api_calls: denied unknown_account
  product: acme consumes 1 tokens: denied not_in_plan
  product: acme consumes 0 api_calls: allowed plan, used 0, remaining 1000
  operator: block acme for fraud
  product: acme consumes 1 api_calls: denied blocked
  product: acme reserves 1 api_calls as res_2: denied blocked
  operator: lift block acme for fraud
  product: acme consumes 1 api_calls: allowed plan, used 1


story usage comes back on the second a period ends, at the ends of months too
catalog metered

2026-01-31T10:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 100 calls: allowed plan, used 100, resets 2026-02-28T10:00Z
  product: acme consumes 1 calls: denied limit_reached
2026-02-28T09:59:59Z
  acme calls: denied limit_reached, used 100
+1s
  acme calls: allowed plan, used 0, resets 2026-03-31T10:00Z
  product: acme consumes 60 calls: allowed plan, used 60
2026-03-31T09:59:59Z
  product: acme consumes 40 calls: allowed plan, used 100, remaining 0
+1s
  acme calls: allowed plan, used 0, resets 2026-04-30T10:00Z


story a day of the calendar is a day in its zone, also when clocks change
catalog metered

2026-03-28T22:59:59Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 10 daily: allowed plan, used 10, resets 2026-03-28T23:00Z
+1s
  product: acme consumes 10 daily: allowed plan, used 10, resets 2026-03-29T22:00Z
2026-03-29T21:59:59Z
  product: acme consumes 1 daily: denied limit_reached, used 10
+1s
  acme daily: allowed plan, used 0, resets 2026-03-30T22:00Z
2026-10-24T22:00Z
  product: acme consumes 10 daily: allowed plan, used 10, resets 2026-10-25T23:00Z
2026-10-25T22:59:59Z
  acme daily: denied limit_reached
+1s
  acme daily: allowed plan, used 0, resets 2026-10-26T23:00Z


story weeks, quarters, lengths of their own and a lifetime end each at its own time
catalog metered

2026-03-30T12:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 10 weekly: allowed plan, used 10, resets 2026-04-06T12:00Z
  product: acme consumes 10 quarters: allowed plan, used 10, resets 2026-04-01T00:00Z
  product: acme consumes 10 shifts: allowed plan, used 10, resets 2026-04-01T00:00Z
  product: acme consumes 3 trials: allowed plan, used 3, remaining 0, resets none
2026-03-31T23:59:59Z
  acme weekly, quarters, shifts, trials: denied limit_reached
+1s
  acme quarters: allowed plan, used 0, resets 2026-07-01T00:00Z
  acme shifts: allowed plan, used 0, resets 2026-04-02T12:00Z
  acme weekly, trials: denied limit_reached
2026-04-06T12:00Z
  acme weekly: allowed plan, used 0, resets 2026-04-13T12:00Z
2027-03-30T12:00Z
  acme trials: denied limit_reached, used 3


story a month of calls is a month on a yearly plan as well
catalog metered

2026-01-31T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_yearly
  product: acme consumes 100 calls: allowed plan, used 100, resets 2026-02-28T00:00Z
2026-02-28T00:00Z
  product: acme consumes 70 calls: allowed plan, used 70, resets 2026-03-31T00:00Z
2026-04-01T00:00Z
  acme calls: allowed plan, used 0, resets 2026-04-30T00:00Z


story an upgrade in mid-period keeps what was used, however often the plan changes
catalog metered

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 100 calls: allowed plan, used 100, limit 100
  product: acme consumes 1 calls: denied limit_reached
2026-03-15T00:00Z
  provider: acme changes pro_monthly to scale_monthly
  acme calls: allowed plan, plan scale, limit 500, used 100, resets 2026-04-10T00:00Z
  product: acme consumes 50 calls: allowed plan, used 150
+1d
  provider: acme changes scale_monthly to pro_monthly
  acme calls: denied limit_reached, plan pro, limit 100, used 150, remaining 0
+1d
  provider: acme changes pro_monthly to scale_monthly
  acme calls: allowed plan, limit 500, used 150, remaining 350
  product: acme consumes 351 calls: denied limit_reached
2026-04-10T00:00Z
  acme calls: allowed plan, used 0, limit 500


story a downgrade below what is used denies more and takes nothing away
catalog metered

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to scale_monthly
  product: acme consumes 18 seats: allowed plan, used 18
  product: acme consumes 300 calls: allowed plan, used 300
2026-03-15T00:00Z
  provider: acme changes scale_monthly to pro_monthly
  acme seats: denied limit_reached, limit 5, used 18, remaining 0
  product: acme consumes 1 calls: denied limit_reached, limit 100, used 300
  operator: acme uses 4 seats
  acme seats: allowed plan, used 4, remaining 1
2026-04-10T00:00Z
  acme calls: allowed plan, used 0, limit 100
  acme seats: allowed plan, used 4


story what is held stays held over periods and plans
catalog metered

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 4 seats: allowed plan, used 4, remaining 1, resets none
  product: acme consumes 2 seats: denied limit_reached
  product: acme consumes 70 projects: allowed plan, unlimited, used none
2026-05-11T00:00Z
  acme seats: allowed plan, used 4
  operator: acme uses 2 seats
  product: acme consumes 3 seats: allowed plan, used 5, remaining 0
  provider: acme cancels now
  acme seats: denied limit_reached, plan free, limit 2, used 5
+1d
  provider: acme subscribes to scale_monthly
  acme seats: allowed plan, limit 20, used 5


story a trial's usage ends with the trial, and the first paid month begins with nothing used
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly, 14 days of trial
  product: acme consumes 100 calls: allowed trial, used 100
  product: acme consumes 1 calls: denied limit_reached
2026-03-14T23:59:59Z
  acme calls: denied limit_reached
+1s
  acme calls: allowed plan, used 0, resets 2026-04-15T00:00Z
  product: acme consumes 1 trials: allowed plan, used 1


story usage goes on in grace, then only what is read, then what is free
catalog metered

2026-03-01T00:00Z
  provider: dunning ends in past_due
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 40 calls: allowed plan, used 40
2026-03-20T00:00Z
  provider: acme's card starts failing
2026-04-01T02:00Z
  product: acme consumes 30 calls: allowed grace, used 30, limit 100
  product: acme consumes 30 reads: allowed grace, used 30
2026-04-08T02:00Z
  product: acme consumes 1 calls: denied past_due
  product: acme consumes 5 reads: allowed grace, used 35, limit 100
  acme seats: denied past_due
  acme calls: denied past_due
2026-04-15T02:00Z
  acme calls: denied limit_reached, plan free, limit 10, used 30
  acme reads: denied limit_reached, plan free, limit 10, used 35
  provider: acme puts in a good card
  provider: acme pays its latest invoice
  acme calls: allowed plan, plan pro, limit 100, used 30
  product: acme consumes 70 calls: allowed plan, used 100


story an add-on bought in mid-period adds units, dropping it takes them away, and usage stays
catalog metered

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 100 calls: allowed plan, used 100
2026-03-15T00:00Z
  provider: acme adds more_calls_monthly x2
  acme calls: allowed add_on, limit 200, used 100
  product: acme consumes 60 calls: allowed add_on, used 160
+1d
  provider: acme drops more_calls_monthly
  product: acme consumes 1 calls: denied limit_reached, limit 100, used 160
2026-04-10T00:00Z
  acme calls: allowed plan, used 0, limit 100


story a lower limit published in mid-period holds at once and takes nothing away
catalog metered

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 60 calls: allowed plan, used 60, plan pro@1
  operator: catalog sells pro with 50 calls
  acme calls: denied limit_reached, limit 50, used 60, plan pro@2
  operator: catalog sells pro with 70 calls
  product: acme consumes 10 calls: allowed plan, limit 70, used 70
  acme calls: denied limit_reached
2026-04-10T00:00Z
  acme calls: allowed plan, used 0, limit 70
