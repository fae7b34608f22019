# What is held: set aside before it is used, and free again on the instant nobody holds it any more.

story what is held counts against everybody until it is used or given back
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme reserves 60 calls as job_1: allowed plan, reserved 60, used 0, remaining 40
  product: acme consumes 50 calls: denied limit_reached, used 0, reserved 60
  product: acme reserves 41 calls as job_2: denied limit_reached, reserved 60
  product: acme consumes 40 calls: allowed plan, used 40, reserved 60, remaining 0
  product: acme commits 25 of job_1: allowed plan, used 65, reserved 0, remaining 35
  acme calls: allowed plan, used 65, reserved 0
  product: acme reserves 35 calls as job_3: allowed plan, remaining 0
  product: acme releases job_3: allowed plan, used 65, reserved 0, remaining 35


story of two that want the last units one gets them
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 90 calls: allowed plan, used 90
  product: acme reserves 6 calls, 2 at once: 1 allowed
  acme calls: allowed plan, used 90, reserved 6, remaining 4
  product: acme reserves 1 calls, 9 at once: 4 allowed
  product: acme consumes 1 calls, 3 at once: 0 allowed
+1m
  product: acme consumes 6 calls, 3 at once: 1 allowed
  acme calls: allowed plan, used 96, reserved 0, remaining 4


story a reservation ends on the second it expires, and holds nothing any more
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme reserves 100 calls as job_1 for 10m: allowed plan, reserved 100, remaining 0
+9m59s
  product: acme consumes 1 calls: denied limit_reached, reserved 100
+1s
  acme calls: allowed plan, reserved 0, remaining 100
  product: acme commits job_1: refused reservation_expired
  product: acme releases job_1: refused reservation_expired
  product: acme extends job_1 to 10m from now: refused reservation_expired
  product: acme consumes 100 calls: allowed plan, used 100, reserved 0
  product: acme reserves 100 calls again as job_1 for 10m: allowed plan, reserved 100


story what has expired is free though the account has changed since
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme reserves 100 calls as job_1 for 10m: allowed plan, reserved 100
+10m
  operator: member ann of acme is owner
  acme calls: allowed plan, reserved 0, remaining 100
  product: acme commits job_1: refused reservation_expired
  provider: acme changes pro_monthly to scale_monthly
  acme calls: allowed plan, limit 500, reserved 0, remaining 500


story a reservation that is extended in time holds on, and one that is cut short lets go
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme reserves 100 calls as long for 1m: allowed plan, reserved 100
  product: acme reserves 10 weekly as short for 1h: allowed plan, reserved 10
  operator: grant acme 5 shifts as gift
  product: acme consumes 10 shifts: allowed plan, used 10
  product: acme reserves 5 shifts as gone for 1h: allowed credit, reserved 5, remaining 0
+30s
  product: acme extends long to 1h from now: allowed plan, reserved 100, remaining 0
  product: acme extends short to 1m from now: allowed plan, reserved 10
  product: acme extends gone to 1m from now: allowed plan, used 10, reserved 5
+59s
  product: acme consumes 1 calls: denied limit_reached, reserved 100
  product: acme consumes 1 weekly: denied limit_reached, reserved 10
+1s
  product: acme consumes 1 calls: denied limit_reached, reserved 100
  product: acme consumes 10 weekly: allowed plan, used 10, reserved 0
  product: acme consumes 5 shifts: allowed credit, used 15, reserved 0
  product: acme commits short: refused reservation_expired
  product: acme commits gone: refused reservation_expired
  product: acme commits long: allowed plan, used 100, reserved 0


story a reservation is used piece by piece, and every piece once
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme reserves 80 calls as job_1 for 1h: allowed plan, reserved 80
  product: acme commits 30 of job_1 keeping the rest as piece_1: allowed plan, used 30, reserved 50
  product: acme commits 30 of job_1 keeping the rest again as piece_1: allowed plan, used 30, reserved 50
  product: acme commits 31 of job_1 keeping the rest as piece_1: refused id_conflict
  product: acme commits 40 of job_1 keeping the rest as piece_2: allowed plan, used 70, reserved 10
  product: acme commits 10 of job_1 keeping the rest as piece_3: allowed plan, used 80, reserved 0
  product: acme commits 1 of job_1 keeping the rest as piece_4: refused reservation_resolved
  acme calls: allowed plan, used 80, remaining 20


story more than is held is used only where there is room for it
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme reserves 40 calls as job_1: allowed plan, reserved 40
  product: acme commits 60 of job_1: allowed plan, used 60, reserved 0
  product: acme reserves 30 calls as job_2: allowed plan, reserved 30
  product: acme commits 41 of job_2: refused exceeds_reservation
  acme calls: allowed plan, used 60, reserved 30
  product: acme commits 40 of job_2: allowed plan, used 100, reserved 0


story a reservation is resolved once, and says how
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme reserves 40 calls as job_1: allowed plan, reserved 40
  product: acme commits 10 of job_1: allowed plan, used 10, reserved 0
  product: acme commits 10 of job_1 again: allowed plan, used 10
  product: acme commits 20 of job_1: refused reservation_resolved
  product: acme commits job_1: refused reservation_resolved
  product: acme releases job_1: refused reservation_resolved
  product: acme extends job_1 to 1h from now: refused reservation_resolved
  product: acme reserves 40 calls as job_2: allowed plan, used 10, reserved 40
  product: acme releases job_2: allowed plan, used 10, reserved 0
  product: acme releases job_2 again: allowed plan, used 10, reserved 0
  product: acme commits job_2: refused reservation_resolved
  product: acme commits job_3: refused unknown_reservation
  product: acme consumes 1 calls as job_1: refused id_conflict
  product: other commits job_1: refused unknown_reservation
  acme calls: allowed plan, used 10, reserved 0


story what is held when access is blocked can still be used, and nothing new
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme reserves 40 calls as job_1 for 1h: allowed plan, reserved 40
  product: acme reserves 40 calls as job_2 for 1h: allowed plan, reserved 80
  operator: block acme for fraud
  acme calls: denied blocked, limit none, used none
  product: acme consumes 1 calls: denied blocked, limit none
  product: acme commits 41 of job_1: refused exceeds_reservation
  product: acme commits job_1: denied blocked
+1m
  operator: lift block acme for fraud
  acme calls: allowed plan, used 40, reserved 40


story what is held is used after an upgrade, a downgrade and a cancellation
catalog metered

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to scale_monthly
  product: acme reserves 200 calls as job_1 for 12h: allowed plan, reserved 200, limit 500
  product: acme reserves 30 calls as job_2 for 12h: allowed plan, reserved 230
  product: acme reserves 10 calls as job_3 for 12h: allowed plan, reserved 240
+1h
  provider: acme changes scale_monthly to pro_monthly
  acme calls: denied limit_reached, limit 100, reserved 240, remaining 0
  product: acme commits 150 of job_1: allowed plan, used 150, reserved 40
  provider: acme cancels now
  acme calls: denied limit_reached, plan free, limit 10
  product: acme commits job_2
  product: acme releases job_3
+1d
  provider: acme subscribes to scale_monthly
  acme calls: allowed plan, limit 500, used 0, reserved 0


story what is held over the end of a period counts where it was held
catalog metered

2026-03-31T23:30Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly, billed from 2026-04-01T00:00Z
  product: acme reserves 5 quarters as job_1 for 1h: allowed plan, reserved 5, resets 2026-04-01T00:00Z
  product: acme reserves 5 quarters as job_2 for 1h: allowed plan, reserved 10, remaining 0
  product: acme reserves 8 daily as job_3 for 10h: allowed plan, reserved 8, resets 2026-04-01T22:00Z
2026-04-01T00:10Z
  acme quarters: allowed plan, used 0, reserved 0, remaining 10
  product: acme consumes 9 quarters: allowed plan, used 9
  product: acme commits 4 of job_1: allowed plan, used 9, reserved 0, resets 2026-07-01T00:00Z
  product: acme extends job_2 to 1h from now: allowed plan, used 9, reserved 0
  product: acme commits 7 of job_2: refused exceeds_reservation
  product: acme releases job_2: allowed plan, used 9, reserved 0, remaining 1
  acme daily: allowed plan, reserved 8
2026-04-01T09:30Z
  acme daily: allowed plan, used 0, reserved 0


story what is held counts in every counter beside the limit
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme reserves 4 mails as mail_1: allowed plan, reserved 4
  acme mails: denied limit_reached, limited_by "rolling 60s", reserved 4
  product: acme reserves 6 shared by ann as share_1: allowed plan, reserved 6
  product: acme consumes 1 shared by ann: denied limit_reached, limited_by member, limit 6, reserved 6
  product: acme consumes 4 shared by bob: allowed plan, used 4, reserved 6
+59s
  product: acme commits 2 of mail_1: allowed plan, used 2, reserved 0
  product: acme commits 3 of share_1: allowed plan, used 7
  acme shared 3 by ann: allowed plan, limit 10, used 7, remaining 3
  acme shared 3 by bob: denied limit_reached, limited_by member, limit 6, used 4
  acme mails 2: allowed plan, used 2
  acme mails 3: denied limit_reached, limited_by "rolling 60s", used 2
+2m
  acme mails 4: allowed plan, used 2


story units granted by themselves are held, used and given back like those of the plan
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  operator: grant acme 50 calls as gift
  product: acme consumes 100 calls: allowed plan, used 100, limit 150
  product: acme reserves 30 calls as job_1 for 1h: allowed credit, used 100, reserved 30, remaining 20
  product: acme reserves 20 calls as job_2 for 1h: allowed credit, reserved 50, remaining 0
  product: acme consumes 1 calls: denied limit_reached
  product: acme releases job_2: allowed plan, used 100, reserved 30, remaining 20
  operator: void gift of acme calls
  acme calls: denied limit_reached, limit 130, used 100, reserved 30
  product: acme commits 10 of job_1: allowed plan, used 110, reserved 0
  acme calls: allowed credit, limit 130, used 110, remaining 20


story units granted by themselves are free again when the reservation on them expires
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  operator: grant acme 50 calls as gift
  product: acme consumes 100 calls: allowed plan, used 100
  product: acme reserves 50 calls as job_1 for 10m: allowed credit, reserved 50, remaining 0
+10m
  acme calls: allowed credit, used 100, reserved 0, remaining 50
  product: acme consumes 50 calls: allowed credit, used 150, reserved 0
  product: acme commits job_1: refused reservation_expired


story what is committed is priced as it was reserved, unless the commit says otherwise
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme reserves 6000 tokens with model large as chat_1: allowed credit
  acme ai_credits: allowed plan, used 0, reserved 24
  product: acme commits chat_1
  acme ai_credits: allowed plan, used 24, reserved 0
  product: acme reserves 6000 tokens with model large as chat_2: allowed credit
  product: acme commits 1000 of chat_2 keeping the rest as first
  acme ai_credits: allowed plan, used 28, reserved 20
  product: acme commits 1000 of chat_2 with model small keeping the rest as second
  acme ai_credits: allowed plan, used 29, reserved 19
  product: acme commits 5000 of chat_2
  acme ai_credits: allowed plan, used 49, reserved 0
  product: acme commits 5000 of chat_2 again
  product: acme reserves 1001 tokens as chat_3: denied insufficient_credit


story a reservation that was denied stays denied, even once there is room
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme reserves 90 calls as job_1: allowed plan, reserved 90
  product: acme reserves 20 calls as job_2: denied limit_reached, reserved 90
  product: acme releases job_1
  product: acme reserves 20 calls again as job_2: denied limit_reached, reserved 90
  acme calls: allowed plan, used 0, reserved 0
  product: acme commits job_2: refused unknown_reservation
  product: acme reserves 30 calls as job_2: refused id_conflict
  product: acme reserves 20 calls as job_3: allowed plan, reserved 20
