# Usage events of what is measured: the latest or the greatest value counts, and a level keeps it over windows.

story what a gauge was told last stands over windows, and a meter begins anew in each
catalog gauges

2026-01-31T10:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme reports 40 storage
  product: acme reports 6 screens
  product: acme reports 40 queue
  product: acme reports 60 load
2026-02-10T00:00Z
  product: acme reports 90 storage
  product: acme reports 3 screens
  product: acme reports 20 queue
  product: acme reports 30 load
  acme storage: allowed plan, limit 100, used 90, remaining 10, resets none
  acme storage 11: denied limit_reached
  acme screens: allowed plan, limit 8, used 6
  acme queue: allowed plan, limit 500, used 20, resets 2026-02-28T10:00Z
  acme load: allowed plan, limit 500, used 60
2026-02-28T10:00Z
  acme storage: allowed plan, used 90
  acme screens: allowed plan, used 6
  acme queue: allowed plan, used 0
  acme load: allowed plan, used 0
2026-03-10T00:00Z
  product: acme reports 5 storage
  product: acme reports 7 load
  acme storage: allowed plan, used 5, remaining 95
  acme load: allowed plan, used 7
2026-05-01T00:00Z
  acme storage: allowed plan, used 5
  acme load: allowed plan, used 0


story a late event counts in the window in which it happened, and an older value never takes the place of a later one
catalog gauges

2026-01-31T10:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
2026-02-10T00:00Z
  product: acme reports 40 storage as m_2
  product: acme reports 70 storage at 2026-02-09T00:00Z as m_1
  acme storage: allowed plan, used 40
  product: acme reports 40 storage as m_2
  product: acme reports 41 storage as m_2: refused id_conflict
  acme storage: allowed plan, used 40
2026-03-01T00:00Z
  product: acme reports 300 load at 2026-02-27T00:00Z
  product: acme reports 3 calls at 2026-02-27T00:00Z
  product: acme reports 5 calls
  acme load: allowed plan, used 0
  acme calls: allowed plan, used 5
  product: acme reports 1 storag: refused unknown_feature
  product: bob reports 1 storage: refused unknown_account


story a downgrade below what a gauge stands at blocks more of it, and less of it heals
catalog gauges

2026-01-31T10:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme reports 40 storage
2026-02-10T00:00Z
  provider: acme cancels now
  acme storage: denied limit_reached, plan free, limit 10, used 40
  product: acme reports 9 storage
  acme storage: allowed plan, limit 10, used 9
