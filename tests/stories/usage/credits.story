# Features that are paid in credits: a credit buys 1,000 tokens.

story tokens are paid in credits until there are not enough

2026-03-01T00:00Z
  provider: acme signs up with a good card
  acme tokens: denied not_in_plan
  provider: acme subscribes to pro_monthly
  acme tokens 5000000: allowed credit, limit 5000000, resets 2026-04-01T00:00Z
  acme tokens 5000001: denied insufficient_credit, limit 5000000
  acme ai_credits 5000: allowed plan, limit 5000
  acme ai_credits 5001: denied limit_reached


story credits added by hand buy tokens

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  operator: override acme ai_credits add 1
  acme tokens 5001000: allowed credit, limit 5001000
  acme tokens 5001001: denied insufficient_credit


story credits end with the subscription

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme cancels now
  acme tokens: denied canceled


story credits that are left over are carried into the next month, up to the cap
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  acme ai_credits: allowed plan, limit 50, used 0, remaining 50
  product: acme consumes 35 ai_credits: allowed plan, used 35
2026-04-01T00:00Z
  acme ai_credits 65: allowed credit, limit 65, used 0, remaining 65, resets 2026-05-01T00:00Z
  acme tokens 65000: allowed credit, remaining 65000
  product: acme consumes 5 ai_credits: allowed plan, used 5, remaining 60
2026-05-01T00:00Z
  acme ai_credits: allowed plan, limit 70, remaining 70
  product: acme consumes 60 ai_credits: allowed credit, used 60, remaining 10
2026-06-01T00:00Z
  acme ai_credits: allowed plan, limit 60, remaining 60
  product: acme consumes 61 ai_credits: denied limit_reached, limit 60
  product: acme consumes 60 ai_credits: allowed credit, used 60, remaining 0
2026-07-01T00:00Z
  acme ai_credits: allowed plan, limit 50, remaining 50


story credits are carried over months in which nobody used any, and the cap does not add up
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 45 ai_credits: allowed plan, used 45
2026-05-01T00:00Z
  acme ai_credits: allowed plan, limit 70, remaining 70
2026-07-01T00:00Z
  product: acme consumes 70 ai_credits: allowed credit, limit 70, used 70, remaining 0
2026-08-01T00:00Z
  product: acme consumes 50 ai_credits: allowed plan, used 50, remaining 0
  acme ai_credits: denied limit_reached, limit 50


story what was held when the month ended and nobody used is carried over as well
catalog metered

2026-03-31T23:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly, billed from 2026-04-01T00:00Z
2026-04-30T23:30Z
  product: acme consumes 30 ai_credits: allowed plan, used 30
  product: acme reserves 20000 tokens as chat_1 for 1h: allowed credit, reserved 20000, remaining 0
2026-05-01T00:40Z
  acme ai_credits: allowed plan, limit 70, used 0, remaining 70
  product: acme consumes 70 ai_credits: allowed credit, used 70, remaining 0


story a month of credits is a month on a yearly plan as well
catalog metered

2026-01-31T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_yearly
  product: acme consumes 50000 tokens: allowed credit, used 50000, remaining 0, resets 2026-02-28T00:00Z
  product: acme consumes 1 tokens: denied insufficient_credit
2026-02-28T00:00Z
  product: acme consumes 20000 tokens: allowed credit, used 20000, remaining 30000, resets 2026-03-31T00:00Z
2026-03-31T00:00Z
  acme tokens: allowed credit, limit 70000, remaining 70000


story units granted by themselves burn by priority, then by what expires sooner
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  operator: grant acme 10 ai_credits as bought priority 90
  operator: grant acme 10 ai_credits as promo until 2026-03-20T00:00Z
  operator: grant acme 10 ai_credits as first until 2026-06-01T00:00Z priority 10
  operator: grant acme 10 ai_credits as later from 2026-03-10T00:00Z until 2026-03-15T00:00Z
  acme ai_credits: allowed plan, limit 80, used 0
  product: acme consumes 10 ai_credits: allowed plan, used 10, remaining 70
  operator: void first of acme ai_credits
  acme ai_credits: allowed plan, remaining 70
  product: acme consumes 5 ai_credits: allowed plan, used 15, remaining 65
2026-03-10T00:00Z
  acme ai_credits: allowed plan, remaining 75
2026-03-15T00:00Z
  acme ai_credits: allowed plan, remaining 65
2026-03-20T00:00Z
  acme ai_credits: allowed plan, remaining 60
  product: acme consumes 55 ai_credits: allowed credit, remaining 5
2026-04-01T00:00Z
  acme ai_credits: allowed plan, remaining 55
  product: acme consumes 50 ai_credits: allowed plan, remaining 5
  product: acme consumes 6 ai_credits: denied limit_reached, remaining 5
  product: acme consumes 5 ai_credits: allowed credit, remaining 0


story units granted and used up are no reason any more
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly and more_calls_monthly
  operator: grant acme 50 calls as gift
  product: acme consumes 200 calls: allowed credit, used 200, remaining 0
2026-04-01T00:00Z
  acme calls 100: allowed plan, remaining 150
  acme calls 101: allowed add_on
  acme calls 150: allowed add_on
  acme calls 151: denied limit_reached


story a grant is given once, and voided once
catalog metered

2026-03-01T00:00Z
  operator: account acme
  operator: grant acme 50 calls as gift until 2026-03-20T00:00Z
  operator: grant acme 50 calls as gift until 2026-03-20T00:00Z
  acme calls 60: allowed credit, limit 60
  operator: grant acme 51 calls as gift until 2026-03-20T00:00Z: refused id_conflict
  operator: grant acme 5 calls as late until 2026-02-01T00:00Z: refused already_expired
  operator: grant acme 5 audit as odd: refused not_countable
  operator: grant acme 5 teleport as odd: refused unknown_feature
  operator: grant nobody 5 calls as odd: refused unknown_account
  product: acme consumes 30 calls: allowed credit, used 30, remaining 30
  operator: void gift of acme calls
  operator: void gift of acme calls
  operator: void other of acme calls: refused unknown_grant
  acme calls 10: allowed plan, limit 40, used 30, remaining 10
  operator: grant acme 50 calls as gift until 2026-03-20T00:00Z
  acme calls 11: denied limit_reached, remaining 10
2026-03-20T00:00Z
  operator: void gift of acme calls: refused unknown_grant
  acme calls: allowed plan, limit 10, used 0


story credits that were bought outlive the subscription
catalog metered

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  operator: grant acme 30 ai_credits as bought
  product: acme consumes 60000 tokens: allowed credit, used 60000, remaining 20000
  provider: acme cancels now
  acme tokens: allowed credit, remaining 20000
  acme ai_credits: allowed credit, remaining 20
  product: acme consumes 15000 tokens: allowed credit, remaining 5000
  product: acme consumes 5001 tokens: denied insufficient_credit, remaining 5000
  operator: block acme for fraud
  product: acme consumes 1 tokens: denied blocked
  operator: lift block acme for fraud
  product: acme consumes 5000 tokens: allowed credit, remaining 0
  acme tokens: denied insufficient_credit, remaining 0


story a dear model costs more credits, and fractions are never lost or charged twice
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 1 tokens: allowed credit, used 1000, remaining 49999
  acme ai_credits: allowed plan, used 1
  product: acme consumes 999 tokens: allowed credit
  acme ai_credits: allowed plan, used 1
  product: acme consumes 1000 tokens with model large: allowed credit
  acme ai_credits: allowed plan, used 5
  product: acme consumes 1 tokens with model tiny: allowed credit
  acme ai_credits: allowed plan, used 6
  product: acme consumes 2999 tokens with model tiny: allowed credit
  product: acme consumes 100 tokens with model unheard_of: allowed credit
  acme ai_credits: allowed plan, used 7
  product: acme consumes 225 tokens with model large: allowed credit
  acme ai_credits: allowed plan, used 7
  acme tokens 10750 with model large: allowed credit, remaining 10750
  acme tokens 10751 with model large: denied insufficient_credit
  acme tokens 43000: allowed credit, remaining 43000
  acme tokens 43001: denied insufficient_credit


story what a chat holds in credits is committed by what it used, and rounds once
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme reserves 2500 tokens as chat_1 for 1h: allowed credit, reserved 3000, remaining 47000
  product: acme reserves 2500 tokens as chat_2 for 1h: allowed credit, reserved 6000, remaining 44000
  acme ai_credits: allowed plan, used 0, reserved 6, remaining 44
  product: acme commits 1200 of chat_1: allowed credit, reserved 3000
  acme ai_credits: allowed plan, used 2, reserved 3, remaining 45
  product: acme commits 2500 of chat_2: allowed credit, reserved 0
  acme ai_credits: allowed plan, used 4, reserved 0
  product: acme consumes 300 tokens: allowed credit
  acme ai_credits: allowed plan, used 4
  product: acme reserves 46000 tokens as chat_3 for 1h: allowed credit, remaining 0
  product: acme consumes 1 tokens: denied insufficient_credit
  product: acme commits 1000 of chat_3 keeping the rest
  product: acme commits 46001 of chat_3: refused exceeds_reservation
  product: acme releases chat_3
  acme ai_credits: allowed plan, used 5, reserved 0, remaining 45


story a chat that was begun in credits is paid in credits, whatever the plan has by now
catalog metered

2026-03-10T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  operator: grant acme 10 ai_credits as bought
  product: acme consumes 45 ai_credits: allowed plan, used 45
  product: acme reserves 10000 tokens as chat_1 for 1h: allowed credit, remaining 5000
  provider: acme changes pro_monthly to scale_monthly
  acme tokens: allowed plan, limit 1000000, used 0
  product: acme commits 8000 of chat_1
  acme tokens: allowed plan, limit 1000000
  provider: acme changes scale_monthly to pro_monthly
  acme ai_credits: allowed credit
  product: acme consumes 5000 tokens: allowed credit


story carried credits show as soon as the month turns, though nothing else has changed
catalog metered

2026-01-31T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_yearly
  product: acme consumes 20000 tokens: allowed credit, used 20000
2026-02-28T00:00Z
  product: acme consumes 60000 tokens: allowed credit, used 60000, remaining 10000, resets 2026-03-31T00:00Z
  acme tokens: allowed credit, remaining 10000
  acme ai_credits: allowed credit, remaining 10
2026-03-31T00:00Z
  acme tokens: allowed credit, limit 60000, remaining 60000
  acme ai_credits: allowed plan, limit 60, remaining 60


story what is left of carried credits shows, however usage is told
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 30 ai_credits: allowed plan, used 30
2026-04-01T00:00Z
  product: acme consumes 60 ai_credits: allowed credit, used 60, remaining 10
  operator: acme uses 20 ai_credits
  acme ai_credits: allowed plan, used 30, remaining 40
  product: acme reserves 35000 tokens as chat_1 for 1h: allowed credit
  product: acme releases chat_1
  acme ai_credits: allowed plan, used 30, remaining 40


story a cap on credits is told in what the feature uses
catalog:
  version: 1
  features:
    tokens: { kind: metered, aggregate: sum, value: n, burns: { gems: { rate: 1, per: 1000 } } }
    images: { kind: metered, burns: { gems: { rate: 5 } } }
  credits: { gems: {} }
  plans:
    pro:
      default: true
      entitlements: { gems: { grant: 100, every: month, per_member: 30, caps: [{ limit: 20, every: hour }] } }

2026-03-01T00:00Z
  operator: account acme
  product: acme consumes 15000 tokens by ann: allowed credit, used 15000, limit 100000
  product: acme consumes 2 images by ann: denied limit_reached, limited_by hour, limit 4, used 3, remaining 1
  acme tokens 6000 by bob: denied limit_reached, limited_by hour, limit 20000, used 15000, remaining 5000
  product: acme reserves 1 images by ann as img_1 for 2h: allowed credit
  acme gems: denied limit_reached, limited_by hour, limit 20, used 15, reserved 5
+1h
  acme tokens 11000 by ann: denied limit_reached, limited_by member, limit 30000, used 15000, reserved 5000, remaining 10000
  product: acme commits img_1: allowed credit
  acme images 2 by ann: allowed credit, used 4, remaining 16
  acme images 3 by ann: denied limit_reached, limited_by member, limit 6, used 4


story a feature that credits pay for takes no grants of its own
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  operator: grant acme 5000 tokens as odd: refused paid_in_credits
  operator: grant acme 5 ai_credits as odd
  acme tokens 5000: allowed credit, limit 5000
  provider: acme subscribes to scale_monthly
  operator: grant acme 5000 tokens as more
  acme tokens 1005000: allowed credit, limit 1005000


story what is used beyond a reservation is paid with the fraction that is left of its credits
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 48500 tokens: allowed credit
  product: acme reserves 400 tokens as chat_1: allowed credit
  product: acme commits 1501 of chat_1: refused exceeds_reservation
  product: acme commits 1500 of chat_1: allowed credit, used 50000, remaining 0
  acme tokens: denied insufficient_credit


story a fraction of a credit that was held last month stays with last month
catalog metered

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
2026-03-31T23:59Z
  product: acme reserves 1500 tokens as chat_1 for 10m: allowed credit
  product: acme reserves 1500 tokens as chat_2 for 10m: allowed credit
2026-04-01T00:01Z
  product: acme commits chat_1: allowed credit
  product: acme commits chat_2: allowed credit
  product: acme consumes 500 tokens: allowed credit
  acme ai_credits: allowed plan, used 1
