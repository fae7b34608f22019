# What becomes of those who bought before, when a plan changes.

story who bought before keeps the old terms, and who buys later gets the new ones

2026-03-01T00:00Z
  provider: early signs up with a good card
  provider: early subscribes to pro_monthly
+1d
  operator: catalog sells pro with 50 projects, existing accounts keep theirs
  early projects 20: allowed plan, limit 20, plan pro@1
  early projects 21: denied limit_reached, plan pro@1
+1d
  provider: late signs up with a good card
  provider: late subscribes to pro_monthly
  late projects 50: allowed plan, limit 50, plan pro@2
  early projects 21: denied limit_reached, limit 20, plan pro@1


story whoever is not told otherwise follows a push at once

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
+1d
  operator: catalog sells pro with 50 projects
  acme projects 50: allowed plan, limit 50, plan pro@2


story those who follow at a date do so on the second

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
+1d
  operator: catalog sells pro with 10 projects, existing accounts follow at 2026-03-20T00:00Z
  acme projects 20: allowed plan, limit 20, plan pro@1, until 2026-03-20T00:00Z
2026-03-19T23:59:59Z
  acme projects 20: allowed plan, limit 20, plan pro@1
+1s
  acme projects 20: denied limit_reached, limit 10, plan pro@2


story a purchase that is learned of late keeps the terms it was bought under

2026-03-01T00:00Z
  provider: acme signs up with a good card
  acme projects: allowed plan, plan free@1
+1d
  weather: lost
  provider: acme subscribes to pro_monthly
+1h
  operator: catalog sells pro with 50 projects, existing accounts keep theirs
+1h
  weather: calm
  weather: sweep
  acme projects 20: allowed plan, limit 20, plan pro@1


story an upgrade after the push buys the new version on an old subscription

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  acme projects: allowed plan, plan pro@1
+1d
  operator: catalog sells scale with 700000 api_calls, existing accounts keep theirs
+1d
  provider: acme changes pro_monthly to scale_monthly
  acme api_calls 700000: allowed plan, limit 700000, plan scale@2


story another interval of the same plan keeps what is kept

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
+1d
  operator: catalog sells pro with 50 projects, existing accounts keep theirs
+1d
  provider: acme changes pro_monthly to pro_yearly
  acme projects 20: allowed plan, limit 20, plan pro@1


story who canceled and buys again gets the new version

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
+1d
  operator: catalog sells pro with 50 projects, existing accounts keep theirs
  acme projects 20: allowed plan, plan pro@1
+1d
  provider: acme cancels now
  acme projects: allowed plan, limit 2, plan free@1
+1d
  provider: acme subscribes to pro_monthly
  acme projects 50: allowed plan, limit 50, plan pro@2


story each push keeps for those who bought under the one before

2026-03-01T00:00Z
  provider: first signs up with a good card
  provider: first subscribes to pro_monthly
+1d
  operator: catalog sells pro with 30 projects, existing accounts keep theirs
+1d
  provider: second signs up with a good card
  provider: second subscribes to pro_monthly
+1d
  operator: catalog sells pro with 40 projects, existing accounts keep theirs
+1d
  provider: third signs up with a good card
  provider: third subscribes to pro_monthly
  first projects: allowed plan, limit 20, plan pro@1
  second projects: allowed plan, limit 30, plan pro@2
  third projects: allowed plan, limit 40, plan pro@3


story a push in arrears changes nothing for those who keep, nor does paying

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
2026-03-20T00:00Z
  provider: acme's card starts failing
2026-04-03T00:00Z
  acme projects 20: allowed grace, limit 20
  operator: catalog sells pro with 5 projects, existing accounts keep theirs
  acme projects 20: allowed grace, limit 20, plan pro@1
+1d
  provider: acme puts in a good card
  provider: acme pays its latest invoice
  acme projects 20: allowed plan, limit 20, plan pro@1


story the default plan is kept by accounts that were there before

2026-03-01T00:00Z
  operator: account old
+1d
  operator: catalog sells free with 1 projects, existing accounts keep theirs
+1d
  operator: account new
  old projects: allowed plan, limit 2, plan free@1
  new projects: allowed plan, limit 1, plan free@2


story an add-on is kept with its plan, and usage goes on counting in the same window

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly and extra_calls_monthly
  product: acme consumes 1000 api_calls: allowed plan, used 1000, limit 150000
+1d
  operator: catalog sells pro with 200000 api_calls, existing accounts follow at 2026-03-20T00:00Z
  acme api_calls: allowed plan, limit 150000, used 1000, plan pro@1
2026-03-20T00:00Z
  acme api_calls: allowed plan, limit 250000, used 1000, plan pro@2, resets 2026-04-10T00:00Z


story an operator pins an account to a version, until a date and for a reason

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
+1d
  operator: catalog sells pro with 10 projects
  acme projects: allowed plan, limit 10, plan pro@2
  operator: pin acme to pro version 1 until 2026-03-10T00:00Z because "promised"
  acme projects: allowed plan, limit 20, plan pro@1, until 2026-03-10T00:00Z
2026-03-10T00:00Z
  acme projects: allowed plan, limit 10, plan pro@2


story a pin to the newest version leaves what the catalog keeps, and is taken back

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
+1d
  operator: catalog sells pro with 30 projects, existing accounts keep theirs
  operator: pin acme to the newest pro
  acme projects: allowed plan, limit 30, plan pro@2
  operator: unpin acme from pro
  acme projects: allowed plan, limit 20, plan pro@1


story a migration moves those on a version, and rolling it back restores them

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: held signs up with a good card
  provider: held subscribes to pro_monthly
+1d
  operator: catalog sells pro with 30 projects, existing accounts keep theirs
  operator: catalog sells pro with 40 projects, existing accounts keep theirs
  operator: pin held to pro version 2 because "beta"
+1h
  operator: migrate pro version 1 to version 3
  acme projects: allowed plan, limit 40, plan pro@3
  held projects: allowed plan, limit 30, plan pro@2
+1h
  operator: roll the migration of pro back
  acme projects: allowed plan, limit 20, plan pro@1
  held projects: allowed plan, limit 30, plan pro@2


story a migration to the newest version follows later pushes again

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
+1d
  operator: catalog sells pro with 30 projects, existing accounts keep theirs
  operator: migrate pro to the newest version at 2026-03-05T00:00Z
  acme projects: allowed plan, limit 20, plan pro@1, until 2026-03-05T00:00Z
2026-03-05T00:00Z
  acme projects: allowed plan, limit 30, plan pro@2
+1d
  operator: catalog sells pro with 50 projects, existing accounts keep theirs
  acme projects: allowed plan, limit 50, plan pro@3


story a pin that has ended leaves the catalog to decide

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
+1d
  operator: catalog sells pro with 30 projects, existing accounts keep theirs
  operator: pin acme to pro version 2 until 2026-03-10T00:00Z because "a look at the new plan"
  acme projects: allowed plan, limit 30, plan pro@2
2026-03-10T00:00Z
  acme projects: allowed plan, limit 20, plan pro@1
