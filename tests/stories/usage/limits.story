# Limits beside the limit: caps, shares, soft ends, overrides. Each denial names the counter that stands in the way.

story an hourly cap and a rolling minute deny before the month does, and say when they let go
catalog metered

2026-03-01T00:20Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 4 mails: allowed plan, used 4, remaining 96, limited_by none
  product: acme consumes 1 mails: denied limit_reached, limited_by "rolling 60s", limit 4, used 4, remaining 0
+61s
  product: acme consumes 4 mails: allowed plan, used 8
+61s
  product: acme consumes 3 mails: denied limit_reached, limited_by hour, limit 10, used 8, remaining 2
  product: acme consumes 2 mails: allowed plan, used 10
  acme mails: denied limit_reached, limited_by hour, resets 2026-03-01T01:20Z
2026-03-01T01:19:59Z
  acme mails: denied limit_reached, limited_by hour
+1s
  product: acme consumes 4 mails: allowed plan, used 14, remaining 86


story the last minute rolls on, and never counts less than was used in it
catalog metered

2026-03-01T00:00:30Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 6 messages: allowed plan, used 6, remaining 4, limit 10
+30s
  product: acme consumes 4 messages: allowed plan, used 10, remaining 0
  product: acme consumes 1 messages: denied limit_reached, used 10
+30s
  acme messages: denied limit_reached, used 10
+1s
  acme messages: allowed plan, used 4, remaining 6
  product: acme consumes 6 messages: allowed plan, used 10
+30s
  acme messages: allowed plan, used 6
+2m
  acme messages: allowed plan, used 0


story a member uses no more than a share, and all together no more than there is
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 6 shared by ann: allowed plan, used 6, remaining 4
  product: acme consumes 1 shared by ann: denied limit_reached, limited_by member, limit 6, used 6, remaining 0
  product: acme consumes 3 shared by bob: allowed plan, used 9
  product: acme consumes 2 shared by cyd: denied limit_reached, limited_by none, limit 10, used 9, remaining 1
  product: acme consumes 1 shared: allowed plan, used 10
  operator: override acme shared add 10
  acme shared by ann: denied limit_reached, limited_by member
  acme shared 3 by bob: allowed override, limit 20
2026-04-01T00:00Z
  product: acme consumes 6 shared by ann: allowed plan, used 6


story what members may use is asked of the member
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  operator: member ann of acme is owner
  operator: member bob of acme is editor
  product: acme consumes 10 minutes by bob: denied role_not_permitted, used 0
  product: acme consumes 10 minutes: denied role_not_permitted
  product: acme consumes 10 minutes by ann: allowed plan, used 10
  product: acme reserves 10 minutes by ann as call_1: allowed plan, reserved 10
  operator: member ann of acme leaves
  product: acme commits call_1: denied role_not_permitted, used 20
  acme minutes by ann: denied role_not_permitted


story a soft limit is passed, and what is over it is counted
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 8 lenient: allowed plan, used 8, remaining 2
  product: acme consumes 30 lenient: allowed plan, used 38, remaining 0, limit 10
  product: acme reserves 5 lenient as job_1: allowed plan, used 38, reserved 5, limit 10
  product: acme commits job_1: allowed plan, used 43, limit 10
  operator: grant acme 3 lenient as gift
  acme lenient 3: allowed credit, remaining 3
  product: acme consumes 5 lenient: allowed plan, used 48, remaining 0
  acme lenient: allowed plan, used 48, remaining 0
2026-04-01T00:00Z
  acme lenient: allowed plan, used 0, remaining 10


story what is over the limit ends where the spend cap does
catalog metered

# 9 cents buy 6 units at 3 cents for every 2.
2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 17 paid: denied limit_reached, limited_by spend_cap, limit 16, used 0, remaining 16
  product: acme consumes 15 paid: allowed plan, used 15, limit 10, remaining 0
  product: acme reserves 1 paid as job_1: allowed plan, used 15, reserved 1
  product: acme consumes 1 paid: denied limit_reached, limited_by spend_cap, limit 16, used 15, reserved 1
  operator: grant acme 3 paid as gift
  product: acme consumes 3 paid: allowed credit, used 18
  product: acme consumes 1 paid: denied limit_reached, limited_by spend_cap
2026-04-01T00:00Z
  acme paid 16: allowed plan, limit 10, used 0, remaining 10
  acme paid 17: denied limit_reached, limited_by spend_cap, limit 16, used 0


story an override counts what was used before it and what is used under it
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 80 calls: allowed plan, used 80
  operator: override acme calls limit 50 until 2026-03-03T00:00Z
  product: acme consumes 1 calls: denied limit_reached, limit 50, used 80, source override
2026-03-03T00:00Z
  product: acme consumes 20 calls: allowed plan, used 100
  operator: override acme calls add 40 until 2026-03-05T00:00Z
  product: acme consumes 30 calls: allowed override, used 130, limit 140, remaining 10
2026-03-05T00:00Z
  acme calls: denied limit_reached, limit 100, used 130
  operator: override acme calls unlimited until 2026-03-07T00:00Z
  product: acme consumes 1000 calls: allowed override, unlimited, used none
2026-03-07T00:00Z
  acme calls: denied limit_reached, used 1130, resets 2026-04-01T00:00Z
  operator: override acme calls limit 2000
  product: acme consumes 870 calls: allowed override, used 2000, remaining 0
2026-04-01T00:00Z
  acme calls: allowed override, used 0, limit 2000, resets 2026-05-01T00:00Z


story usage that was counted wrong is stated as it should have been
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 90 calls: allowed plan, used 90
  product: acme reserves 10 calls as job_1: allowed plan, reserved 10
  operator: acme uses 30 calls as recount
  acme calls: allowed plan, used 30, reserved 10, remaining 60
  product: acme consumes 60 calls: allowed plan, used 90, reserved 10
  operator: acme uses 30 calls as recount
  operator: acme uses 40 calls as recount: refused id_conflict
  acme calls: denied limit_reached, used 90
  operator: acme uses 1 audit: refused not_countable
  operator: acme uses 1 teleport: refused unknown_feature
  operator: nobody uses 1 calls: refused unknown_account
  operator: acme uses 40 ai_credits
  acme ai_credits: allowed plan, used 40, remaining 10


story what was used lately and counted wrong is stated as it should have been, and leaves the window in time
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 6 messages: allowed plan, used 6
+30s
  product: acme consumes 4 messages: allowed plan, used 10
  acme messages: denied limit_reached
  operator: acme uses 4 messages as recount
  acme messages: allowed plan, used 4, remaining 6
  product: acme consumes 6 messages: allowed plan, used 10, remaining 0
+31s
  acme messages: denied limit_reached, used 10, remaining 0
  operator: acme uses 7 messages as again
+28s
  acme messages: allowed plan, used 7, remaining 3
+4s
  acme messages: allowed plan, used 0, remaining 10


story a window's usage is of the window, though plans with other windows come between
catalog:
  version: 1
  features:
    calls: { kind: metered }
  plans:
    weekly:
      prices: { monthly: { amount: 500, currency: usd, interval: month, stripe: weekly_monthly } }
      entitlements: { calls: { limit: 10, every: week } }
    monthly:
      prices: { monthly: { amount: 900, currency: usd, interval: month, stripe: monthly_monthly } }
      entitlements: { calls: { limit: 40, every: month } }

2026-03-02T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to monthly_monthly
  product: acme consumes 15 calls: allowed plan, used 15, resets 2026-04-02T00:00Z
2026-03-10T00:00Z
  provider: acme changes monthly_monthly to weekly_monthly
  acme calls: allowed plan, limit 10, used 0, resets 2026-03-16T00:00Z
  product: acme consumes 10 calls: allowed plan, used 10
+1h
  provider: acme changes weekly_monthly to monthly_monthly
  acme calls: allowed plan, limit 40, used 15


story the features of one account are counted apart, and so are accounts
catalog metered

2026-03-01T00:00Z
  operator: account acme
  operator: account other
  product: acme consumes 10 calls as req_1: allowed plan, used 10
  product: other consumes 4 calls as req_1: allowed plan, used 4
  acme calls: denied limit_reached, plan free, used 10
  acme reads: allowed plan, used 0
  other calls: allowed plan, used 4
  operator: delete account acme
  product: acme consumes 1 reads: denied unknown_account
  operator: account acme
  product: acme consumes 1 calls: denied limit_reached, used 10


story units granted and spent are over once a window begins anew, and stay where none ever does
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  operator: grant acme 50 calls as gift priority 10
  product: acme consumes 49 calls: allowed plan, limit 150, used 49, remaining 101
  product: acme consumes 2 calls: allowed plan, limit 150, used 51, remaining 99
  operator: grant acme 2 trials as more
  product: acme consumes 5 trials: allowed credit, limit 5, used 5, remaining 0
2026-04-01T00:00Z
  acme calls: allowed plan, limit 100, used 0
  acme trials: denied limit_reached, limit 5, used 5


story none at all is allowed however much is used, as long as it is had
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 100 calls: allowed plan
  product: acme consumes 4 mails: allowed plan
  product: acme consumes 50000 tokens: allowed credit
  operator: override acme calls limit 60
  acme calls: denied limit_reached, limit 60, used 100
  acme calls 0: allowed override, limit 60, used 100, remaining 0
  product: acme consumes 0 calls: allowed override, used 100
  acme mails 0: allowed plan, limit 100, used 4
  acme tokens 0: allowed credit, remaining 0
  acme minutes 0: denied role_not_permitted
  acme teleport 0: denied unknown_feature
  operator: block acme for fraud
  acme calls 0: denied blocked


story an operator lets overage cost more or less than the plan does, and the limit stays
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  operator: override acme paid spend cap 30
  acme paid: denied not_in_plan
  provider: acme subscribes to pro_monthly
  acme paid 30: allowed plan, limit 10
  acme paid 31: denied limit_reached, limited_by spend_cap, limit 30
  product: acme consumes 20 paid: allowed plan, limit 10, used 20, remaining 0
  operator: override acme paid spend cap 15 until 2026-03-20T00:00Z because "the budget is spent"
  acme paid: denied limit_reached, limited_by spend_cap, limit 20, used 20
  acme paid 0: allowed plan, limit 10, used 20
2026-03-20T00:00Z
  acme paid: denied limit_reached, limited_by spend_cap, limit 16, used 20
  operator: override acme paid spend cap 0
2026-04-01T00:00Z
  product: acme consumes 10 paid: allowed plan, used 10, remaining 0
  acme paid: denied limit_reached, limited_by spend_cap, limit 10
  operator: remove override acme paid
  acme paid 6: allowed plan
  acme paid 7: denied limit_reached, limit 16
