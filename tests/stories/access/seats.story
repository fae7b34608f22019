# Members and their seats: who may use what takes one, who is refused one, and who is left when there are fewer.

story what takes a seat is for members who have one
catalog team

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x3
  operator: member ann of acme is owner with a seat
  operator: member bo of acme is editor
  acme editor, history, retention by ann: allowed plan
  acme editor, history, retention by bo: denied no_seat, value none, plan pro
  acme editor by nobody: denied no_seat
  acme editor: denied no_seat
  acme reports: allowed plan
+1h
  operator: member bo of acme is editor with a seat
  acme retention by bo: allowed plan, value 90
  operator: member bo of acme leaves
  acme editor by bo: denied no_seat


story a role and a seat are both needed where both are asked for
catalog team

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x3
  operator: member ann of acme is owner
  operator: member bo of acme is editor with a seat
  operator: member cy of acme is viewer with a seat
  acme publish by ann: denied no_seat
  acme publish by bo: allowed plan
  acme publish by cy: denied role_not_permitted
  acme publish: denied role_not_permitted
  acme billing by ann: allowed plan
  acme billing by bo: denied role_not_permitted
  operator: member cy of acme is editor with a seat
  acme publish by cy: allowed plan


story what is not had at all is not had by a member with a seat either
catalog team

2026-03-01T00:00Z
  operator: account acme
  operator: member ann of acme is owner with a seat
  acme editor by ann: allowed plan, plan free
  acme history, publish by ann: denied not_in_plan
  operator: block acme for fraud
  acme editor by ann: denied blocked
  operator: lift block acme for fraud
  acme editor by ann: allowed plan


story a seat that is not there is given to nobody
catalog team

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x2
  operator: member ann of acme is owner with a seat
  operator: member bo of acme is editor with a seat
  acme seats 0: allowed plan, used 2, limit 2, remaining 0
  acme seats: denied limit_reached
  operator: member cy of acme is editor with a seat: refused no_seat_left
  operator: member cy of acme is editor
  operator: member bo of acme is owner with a seat
  operator: member bo of acme leaves
  acme seats: allowed plan, used 1, remaining 1
  operator: member cy of acme is editor with a seat
  acme editor by cy: allowed plan


story with fewer seats who came last is suspended, and is back with the seats
catalog team

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x3
  operator: member cy of acme is owner with a seat
+1h
  operator: member bo of acme is editor with a seat
+1h
  operator: member ann of acme is editor with a seat
+1d
  provider: acme changes pro_monthly to pro_monthly x2
  acme editor by cy: allowed plan
  acme editor by bo: allowed plan
  acme editor by ann: denied no_seat
  acme seats: denied limit_reached, used 3, limit 2, remaining 0
  acme reports by ann: allowed plan
+1d
  provider: acme changes pro_monthly to pro_monthly x1
  acme editor by bo: denied no_seat
+1d
  provider: acme changes pro_monthly to pro_monthly x3
  acme editor by cy: allowed plan
  acme editor by bo: allowed plan
  acme editor by ann: allowed plan


story another role leaves a member its place, a seat given anew is the last
catalog team

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x2
  operator: member ann of acme is editor with a seat
+1h
  operator: member bo of acme is editor with a seat
+1h
  operator: member ann of acme is owner with a seat
+1h
  provider: acme changes pro_monthly to pro_monthly x1
  acme editor by ann: allowed plan
  acme editor by bo: denied no_seat
+1h
  operator: member ann of acme is owner
  acme editor by bo: allowed plan
  operator: member ann of acme is owner with a seat: refused no_seat_left
+1h
  provider: acme changes pro_monthly to pro_monthly x2
  operator: member ann of acme is owner with a seat
+1h
  provider: acme changes pro_monthly to pro_monthly x1
  acme editor by bo: allowed plan
  acme editor by ann: denied no_seat


story the owner chooses who keeps a seat
catalog team

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x3
  operator: member ann of acme is owner with a seat
+1h
  operator: member bo of acme is editor with a seat
+1h
  operator: member cy of acme is editor with a seat
+1h
  provider: acme changes pro_monthly to pro_monthly x2
  acme editor by cy: denied no_seat
  operator: seats of acme go to ann and cy
  acme editor by ann: allowed plan
  acme editor by cy: allowed plan
  acme editor by bo: denied no_seat
  acme seats 0: allowed plan, used 2, limit 2
  operator: seats of acme go to ann and bo and cy: refused no_seat_left
  operator: seats of acme go to ann and dee: refused unknown_member
  acme seats 0: allowed plan, used 2
# Who was released stays so when there are seats again: they were taken away, not suspended.
+1h
  provider: acme changes pro_monthly to pro_monthly x3
  acme editor by bo: denied no_seat
  operator: seats of acme go to nobody
  acme editor by ann: denied no_seat
  acme seats: allowed plan, used 0


story who is over may go on choosing fewer, and more stays refused
catalog team

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x4
  operator: member ann of acme is owner with a seat
  operator: member bo of acme is editor with a seat
  operator: member cy of acme is editor with a seat
  operator: member dee of acme is editor with a seat
+1h
  provider: acme changes pro_monthly to pro_monthly x1
  operator: seats of acme go to ann and bo and cy
  acme seats: denied limit_reached, used 3, limit 1
  operator: member ann of acme is admin with a seat
  operator: member dee of acme is editor with a seat: refused no_seat_left
  operator: seats of acme go to bo and dee: refused no_seat_left
  operator: seats of acme go to bo
  acme editor by bo: allowed plan


story seats that are added or given by hand count like those of the plan
catalog team

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly and more_seats_monthly x2
  operator: member ann of acme is owner with a seat
  operator: member bo of acme is editor with a seat
  operator: member cy of acme is editor with a seat
  operator: member dee of acme is editor with a seat: refused no_seat_left
  operator: override acme seats add 1 until 2026-03-05T00:00Z because "trying out"
  operator: member dee of acme is editor with a seat
  acme editor by dee: allowed plan
2026-03-04T23:59:59Z
  acme editor by dee: allowed plan
+1s
  acme editor by dee: denied no_seat
  operator: override acme seats unlimited
  acme editor by dee: allowed plan
  operator: override acme seats is off
  acme editor by ann: denied no_seat


story units of what takes a seat are used by members who have one
catalog team

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x2
  operator: member ann of acme is owner with a seat
  operator: member bo of acme is editor
  product: acme consumes 40 renders by ann: allowed plan, used 40
  product: acme consumes 5 renders by bo: denied no_seat
  product: acme consumes 5 renders: denied no_seat
  product: acme consumes 30 renders by ann: denied limit_reached, limited_by member
  product: acme reserves 10 renders by bo as r_1: denied no_seat
  product: acme reserves 10 renders by ann as r_2: allowed plan, reserved 10
  operator: member ann of acme is owner
# What was set aside for her before may still be used.
  product: acme commits r_2
  product: acme consumes 1 renders by ann: denied no_seat
  acme renders by ann: denied no_seat


story members are what is used of seats, and until there are any the product counts
catalog team

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x5
  product: acme consumes 4 seats: allowed plan, used 4
  acme seats 2: denied limit_reached, used 4
  operator: member ann of acme is owner with a seat
  acme seats 0: allowed plan, used 1, remaining 4
  product: acme consumes 1 seats: refused taken_by_members
  product: acme reserves 1 seats as s_1: refused taken_by_members
  operator: acme uses 2 seats: refused taken_by_members
  acme seats 0: allowed plan, used 1
  operator: member ann of acme leaves
  acme seats 0: allowed plan, used 4


story more seats are an override, for nobody spends them
catalog team

2026-03-01T00:00Z
  operator: account acme
  operator: grant acme 3 seats as gr_1: refused not_grantable
  acme seats: allowed plan, limit 1
  operator: override acme seats add 3
  acme seats 4: allowed override, limit 4


story without a limit everybody may have a seat, and without the level nobody
catalog team

2026-03-01T00:00Z
  operator: account acme
  operator: override acme seats unlimited
  operator: member ann of acme is owner with a seat
  operator: member bo of acme is editor with a seat
  acme editor by bo: allowed plan
  acme seats: allowed override, unlimited
  operator: subscription s1 of acme is active on solo since 2026-03-01T00:00Z, version 1
  operator: remove override acme seats
  acme seats: denied not_in_plan
  acme history by ann: denied no_seat
  operator: member cy of acme is editor with a seat: refused no_seat_left


story arrears close features step by step, and take nobody's seat
catalog team

2026-03-01T00:00Z
  provider: dunning ends in past_due
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x2
  operator: member ann of acme is owner with a seat
+1h
  operator: member bo of acme is editor with a seat
  provider: acme's card starts failing
2026-04-02T00:00Z
  acme editor by bo: allowed grace
# On the read step the seats are closed like all that is not for reading; who has one may still read.
2026-04-10T00:00Z
  acme editor by bo: denied past_due
  acme history by bo: allowed grace
  acme history by cy: denied no_seat
  operator: member cy of acme is editor with a seat: refused no_seat_left
# On the last step the free plan stands in, with its one seat.
2026-04-24T00:00Z
  acme editor by ann: allowed plan
  acme editor by bo: denied no_seat
+1h
  provider: acme puts in a good card
  provider: acme pays its oldest invoice
  acme editor by bo: allowed plan


story who is a member no longer gives the seat back
catalog team

2026-03-01T00:00Z
  operator: account acme
  operator: member ann of acme is owner with a seat
  operator: member bo of acme is editor with a seat: refused no_seat_left
  operator: member ann of acme leaves
  operator: member bo of acme is editor with a seat
  acme editor by bo: allowed plan
  acme editor by ann: denied no_seat


story the end of a trial takes seats on the second
catalog team

2026-03-01T00:00Z
  operator: account acme
  operator: subscription s1 of acme is trialing on pro x2 since 2026-03-01T00:00Z, trial until 2026-03-15T00:00Z, ending 2026-03-15T00:00Z, version 1
  operator: member ann of acme is owner with a seat
+1h
  operator: member bo of acme is editor with a seat
  acme editor by bo: allowed trial
2026-03-14T23:59:59Z
  acme editor by bo: allowed trial
+1s
  acme editor by bo: denied no_seat, plan free
  acme editor by ann: allowed plan, plan free
