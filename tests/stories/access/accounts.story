# Whose is it? Accounts, customers and several subscriptions.

story an account nobody has heard of is unknown, and so is a feature that is not sold

2026-03-01T00:00Z
  acme editor: denied unknown_account
  provider: acme signs up with a good card
  acme editor: denied not_in_plan, plan free
  acme teleport: denied unknown_feature
  somebody editor: denied unknown_account


story an account the application stated has the free plan before it ever pays

2026-03-31T08:00Z
  operator: account acme
  acme seats 1: allowed plan, plan free, limit 1
  acme api_calls: allowed plan, limit 1000, resets 2026-04-30T08:00Z
  acme editor: denied not_in_plan
2026-04-30T08:00Z
  acme api_calls: allowed plan, resets 2026-05-31T08:00Z


story an account without any plan has no subscription
catalog no_free_plan

2026-03-01T00:00Z
  operator: account acme
  acme editor, seats: denied no_subscription, plan none


story a deleted account is unknown

2026-03-01T00:00Z
  operator: account acme
  acme seats: allowed plan
  operator: delete account acme
  acme seats: denied unknown_account


story two subscriptions: seats add up, the larger allowance wins

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x2 as sales
  provider: acme subscribes to scale_monthly x3 as support
  acme seats 5: allowed plan, limit 5
  acme seats 6: denied limit_reached, limit 5
  acme api_calls: allowed plan, limit 500000, plan scale
  acme retention: allowed plan, value 365
  acme audit_log: allowed plan, plan scale
+1d
  provider: acme/support cancels now
  acme seats 2: allowed plan, limit 2
  acme audit_log: denied not_in_plan, plan pro
  acme retention: allowed plan, value 90


story of two subscriptions one fails, and the other still stands

2026-03-01T00:00Z
  provider: dunning ends in past_due
  provider: acme signs up with a good card
  provider: backup signs up for account acme with a good card
  provider: acme subscribes to scale_monthly
  provider: backup subscribes to pro_monthly
  provider: acme's card starts failing
2026-04-01T01:00Z
  acme audit_log: allowed grace, plan scale
  acme editor: allowed plan, plan pro
2026-04-08T01:00Z
  acme editor: allowed plan, plan pro
  acme audit_log: denied past_due, plan scale
2026-04-22T01:00Z
  acme editor: allowed plan, plan pro
  acme audit_log: denied past_due, plan scale


story an account with customers in two countries has what both bought

2026-03-01T00:00Z
  provider: acme-us signs up for account acme with a good card
  provider: acme-eu signs up for account acme with a good card
  provider: acme-us subscribes to pro_monthly x2
  provider: acme-eu subscribes to pro_monthly x3
  acme seats 5: allowed plan, limit 5
+1d
  provider: acme-eu cancels now
  acme seats 3: denied limit_reached, limit 2


story a customer without an account is an account of its own, named by its id

2026-03-01T00:00Z
  provider: acme signs up without an account, with a good card
  provider: acme subscribes to pro_monthly
  @acme editor: allowed plan
  acme editor: denied unknown_account


story a customer linked to an account later brings what it bought

2026-03-01T00:00Z
  provider: acme signs up without an account, with a good card
  provider: acme subscribes to pro_monthly
  @acme editor: allowed plan
  operator: account workspace-1 linked to @acme
  workspace-1 editor: allowed plan, plan pro
  @acme editor: denied unknown_account
+1d
  operator: account workspace-1
  workspace-1 editor: denied not_in_plan
  @acme editor: allowed plan


story what the customer's metadata says beats a link

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  operator: account other linked to @acme
  acme editor: allowed plan
  other editor: denied not_in_plan


story a customer that moves takes everything along

2026-03-01T00:00Z
  provider: acme signs up for account old with a good card
  provider: acme subscribes to pro_monthly
  old editor: allowed plan
  provider: acme moves to account new
  new editor: allowed plan
  old editor: denied unknown_account
+1d
  provider: acme moves to account old
  old editor: allowed plan
  new editor: denied unknown_account


story a role is needed where the catalog says so

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  operator: member ann of acme is owner
  operator: member bo of acme is developer
  acme billing_admin by ann: allowed plan
  acme billing_admin by bo: denied role_not_permitted
  acme billing_admin by nobody: denied role_not_permitted
  acme billing_admin: denied role_not_permitted
  acme editor by bo: allowed plan
+1d
  operator: member bo of acme is admin
  operator: member ann of acme leaves
  acme billing_admin by bo: allowed plan
  acme billing_admin by ann: denied role_not_permitted


story an account that only the subscription names has what that buys

2026-03-01T00:00Z
  provider: shop signs up without an account, with a good card
  provider: shop subscribes to pro_monthly
  @shop editor: allowed plan
  provider: shop is named for account acme
  acme editor: allowed plan, plan pro
  acme findings: none
  @shop editor: denied unknown_account
  weather: sweep
  acme editor: allowed plan, plan pro


story where customer and subscription name different accounts the customer's counts, and somebody is told

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme is named for account globex
  acme editor: allowed plan, plan pro
  globex editor: denied unknown_account
  acme findings: account_conflict
  provider: acme is named for account acme
  acme findings: none
