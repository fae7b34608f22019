# What a rule of plan changes does to what is over the new limits, to seats, and to what is used.

story a rule that refuses lets nobody go lower before there is room
catalog rules

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to large_monthly
  operator: acme uses 12 projects
+1d
  owner: acme would change to refusing: quoted downgrade, over projects 12 of 10 refuse, rule 1
  owner: acme accepts the quote: refused change_refused
  owner: acme changes to closed: refused change_refused
  acme projects: allowed plan, plan large, limit 50
  operator: acme uses 10 projects
  owner: acme changes to refusing: applied downgrade, over nothing
  acme projects: denied limit_reached, plan refusing, limit 10, used 10


story a rule that blocks leaves what is there, and nothing comes on top
catalog rules

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to large_monthly
  operator: acme uses 12 projects
  product: acme consumes 1500 calls: allowed plan
+1d
  owner: acme changes to blocking: applied downgrade, rule 2, over projects 12 of 10 block_new, over calls 1500 of 1000 block_new, usage as it is
  acme projects 0: allowed plan, used 12, limit 10, remaining 0
  acme projects: denied limit_reached
  acme calls: denied limit_reached, used 1500, limit 1000
  operator: acme uses 9 projects
  acme projects: allowed plan, remaining 1
2026-05-01T00:00Z
  acme calls: allowed plan, used 0, limit 1000


story a rule with grace leaves all that there was for as long as it says
catalog rules

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to large_monthly
  operator: acme uses 12 projects
+1d
  owner: acme changes to gracing: applied downgrade, over projects 12 of 10 grace until 2026-04-09T00:00Z, leaves 50 projects until 2026-04-09T00:00Z
  acme projects 38: allowed grace, limit 50, used 12
  acme calls: allowed plan, limit 1000
2026-04-08T23:59:59Z
  product: acme consumes 1 projects: allowed grace, used 13
+1s
  acme projects: denied limit_reached, limit 10, used 13


story a rule that keeps leaves it until the end of the period
catalog rules

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to large_monthly
  operator: acme uses 12 projects
  product: acme consumes 1500 calls: allowed plan
+1d
  owner: acme changes to keeping: applied downgrade, over projects 12 of 10 keep until 2026-05-01T00:00Z, leaves 50 projects until 2026-05-01T00:00Z, leaves 4000 calls until 2026-05-01T00:00Z
  acme projects 38: allowed grace, limit 50
  acme calls 2500: allowed grace, limit 4000, used 1500
2026-05-01T00:00Z
  acme projects: denied limit_reached, limit 10
  acme calls: allowed plan, limit 1000, used 0


story with fewer seats who came last is suspended, and the seats come back by themselves
catalog rules

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to large_monthly
  operator: member ann of acme is owner with a seat
+1h
  operator: member bo of acme is editor with a seat
+1h
  operator: member cy of acme is editor with a seat
+1d
  owner: acme would change to blocking: quoted downgrade, over seats 3 of 2 block_new
  owner: acme changes to blocking: applied downgrade, cy is suspended
  acme editor by bo: allowed plan
  acme editor by cy: denied no_seat
+1d
  owner: acme goes back: applied upgrade, nobody loses a seat
  acme editor by cy: allowed plan


story the owner chooses who of too many keeps a seat
catalog rules

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to large_monthly
  operator: member ann of acme is owner with a seat
+1h
  operator: member bo of acme is editor with a seat
+1h
  operator: member cy of acme is editor with a seat
+1d
  owner: acme changes to choosing: applied downgrade, cy is suspended
  acme editor by cy: denied no_seat
  operator: seats of acme go to ann and cy
  acme editor by ann: allowed plan
  acme editor by cy: allowed plan
  acme editor by bo: denied no_seat


story who was given a seat last loses it for good where the rule says so
catalog rules

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to large_monthly
  operator: member cy of acme is owner with a seat
+1h
  operator: member bo of acme is editor with a seat
+1h
  operator: member ann of acme is editor with a seat
+1d
  owner: acme changes to gracing: applied downgrade, ann is released
  acme editor by ann: denied no_seat
+1d
  owner: acme goes back: applied upgrade
  acme editor by ann: denied no_seat
  acme editor by bo: allowed plan


story who is least active loses the seat where the rule says so
catalog rules

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to large_monthly
  operator: member ann of acme is owner with a seat
+1h
  operator: member bo of acme is editor with a seat
+1h
  operator: member cy of acme is editor with a seat
+1h
  product: acme consumes 1 calls by bo: allowed plan
+1h
  product: acme consumes 1 calls by cy: allowed plan
+1d
  owner: acme changes to idling: applied downgrade, over seats 3 of 2 block_new, ann is released
  acme editor by ann: denied no_seat
  acme editor by bo: allowed plan
  acme editor by cy: allowed plan
+1d
  owner: acme goes back: applied upgrade, nobody loses a seat
  acme editor by ann: denied no_seat


story going up and down and up again keeps what was used
catalog rules

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to blocking_monthly
  product: acme consumes 900 calls: allowed plan, remaining 100
2026-04-16T00:00Z
  owner: acme changes to large: applied upgrade, usage as it is
  acme calls: allowed plan, used 900, remaining 3100
  owner: acme changes to blocking: applied downgrade, usage as it is
  acme calls: allowed plan, used 900, remaining 100
  owner: acme changes to large: applied upgrade, usage as it is
  acme calls: allowed plan, used 900, remaining 3100, resets 2026-05-01T00:00Z


story what is used keeps its share of the units where the rule converts
catalog rules

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to large_monthly
  product: acme consumes 1001 calls: allowed plan
+1d
  owner: acme would change to converting: quoted downgrade, counts 1001 calls as 251
  owner: acme changes to converting: applied downgrade, counts 1001 calls as 251
  acme calls: allowed plan, used 251, limit 1000
  owner: acme goes back: applied upgrade, counts 251 calls as 1004
  acme calls: allowed plan, used 1004, limit 4000
2026-05-01T00:00Z
  acme calls: allowed plan, used 0


story what counts as used is prorated where the rule says so
catalog rules

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to large_monthly
  product: acme consumes 3000 calls: allowed plan
2026-04-16T00:00Z
  owner: acme changes to prorating: applied downgrade, counts 3000 calls as 1500, over calls 1500 of 1000 block_new
  acme calls: denied limit_reached, used 1500, limit 1000


story what nobody has used yet is prorated as well
catalog rules

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to large_monthly
2026-04-16T00:00Z
  owner: acme would change to prorating: quoted downgrade, counts 0 calls as -1500
  owner: acme changes to prorating: applied downgrade, counts 0 calls as -1500
  acme calls: allowed plan, used -1500, limit 1000, remaining 2500
  product: acme consumes 1 calls: allowed plan, used -1499, remaining 2499
  product: acme consumes 2500 calls: denied limit_reached
  product: acme consumes 2499 calls: allowed plan, used 1000, remaining 0
2026-05-01T00:00Z
  acme calls: allowed plan, used 0, limit 1000


story what was used is forgotten where the rule says so
catalog rules

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to large_monthly
  product: acme consumes 3000 calls: allowed plan
2026-04-16T00:00Z
  owner: acme changes to resetting: applied downgrade, counts 3000 calls as 0, over nothing
  acme calls: allowed plan, used 0, limit 1000


story a change in the provider's portal is settled by the same rules
catalog rules

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to large_monthly
  operator: acme uses 12 projects
  product: acme consumes 1000 calls: allowed plan
+1d
  provider: acme changes large_monthly to gracing_monthly
  owner: acme looks at the change: applied downgrade, made at the provider, from large to gracing, over projects 12 of 10 grace until 2026-04-09T00:00Z, leaves 50 projects until 2026-04-09T00:00Z
  acme projects 38: allowed grace, limit 50
+1d
  provider: acme changes gracing_monthly to converting_monthly
  owner: acme looks at the change: applied upgrade, made at the provider, usage as it is
  acme projects: allowed plan, limit 50, used 12


story a rule that refuses cannot refuse what was done at the provider
catalog rules

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to large_monthly
  acme editor 0: denied no_seat, plan large
+1d
  provider: acme changes large_monthly to closed_monthly
  owner: acme looks at the change: applied downgrade, made at the provider, rule 12
  acme projects: denied not_in_plan, plan closed


story who cancels in the portal has what is over settled on the day
catalog rules

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to large_monthly
  operator: acme uses 12 projects
+1d
  provider: acme cancels at period end
2026-05-01T00:00Z
  acme projects: denied limit_reached, plan free, limit 2
  owner: acme looks at the change: applied downgrade, made at the provider, from large to free, over projects 12 of 2 block_new


story an override stays through a change, and what it covers is not over
catalog rules

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to large_monthly
  operator: acme uses 12 projects
  operator: override acme projects limit 20 because "promised by sales"
+1d
  owner: acme changes to refusing: applied downgrade, over nothing
  acme projects: allowed override, limit 20, used 12
  operator: remove override acme projects
  acme projects: denied limit_reached, limit 10


story units granted by themselves outlive a change
catalog rules

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to large_monthly
  operator: grant acme 500 calls as gift
  product: acme consumes 800 calls: allowed plan, limit 4500, remaining 3700
+1d
  owner: acme changes to refusing: applied downgrade, over nothing, usage as it is
  acme calls: allowed plan, limit 1500, used 800
  product: acme consumes 300 calls: allowed credit, remaining 400
+1d
  owner: acme goes back: applied upgrade
  acme calls: allowed plan, used 1100
2026-05-01T00:00Z
  acme calls: allowed plan, limit 4500, remaining 4400


story who kept an older version goes to another plan in its newest, and has the older again when they come back
catalog rules

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to blocking_monthly
+1d
  operator: catalog sells blocking with 7 projects, existing accounts keep theirs
  operator: catalog sells large with 60 projects
  acme projects: allowed plan, plan blocking@1, limit 10
  owner: acme changes to large: applied upgrade, from blocking@1 to large@2
  acme projects: allowed plan, limit 60
+1d
  owner: acme goes back: applied downgrade, from large@2 to blocking@1
  acme projects: allowed plan, plan blocking@1, limit 10


story webhooks that are lost keep nobody from having what they changed to
catalog rules

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to blocking_monthly
  acme projects: allowed plan, limit 10
  weather: lost
+1d
  owner: acme changes to large: applied upgrade, from blocking to large
  acme projects: allowed plan, limit 50
+1h
  provider: acme changes large_monthly to gracing_monthly
  weather: calm, sweep
  owner: acme looks at the change: applied downgrade, made at the provider


story what was scheduled here is settled though every webhook is lost
catalog changing

2026-04-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to scale_monthly
  weather: lost
+1d
  owner: acme changes to pro: scheduled downgrade
2026-05-01T02:00Z
  owner: acme looks at the change: applied downgrade, asked for
  acme audit_log: denied not_in_plan, plan pro


story doubled and shuffled webhooks make one change of one
catalog rules

2026-04-01T00:00Z
  weather: doubled, shuffled
  provider: acme signs up with a good card
  provider: acme subscribes to large_monthly
  product: acme consumes 1000 calls: allowed plan
+1d
  owner: acme changes to converting: applied downgrade, counts 1000 calls as 250
  acme calls: allowed plan, used 250
  owner: acme goes back: applied upgrade, counts 250 calls as 1000
  acme calls: allowed plan, used 1000
