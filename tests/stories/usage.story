# What is used: counted exactly, once for each id, in its window.

story of many at once exactly as many are allowed as there is room for

2026-03-01T00:00Z
  operator: account acme
  product: acme consumes 7 api_calls, 150 at once: 142 allowed
  acme api_calls: allowed plan, limit 1000, used 994, remaining 6
  acme api_calls 7: denied limit_reached, used 994
  product: acme consumes 6 api_calls: allowed plan, used 1000, remaining 0
  product: acme consumes 1 api_calls: denied limit_reached, used 1000, resets 2026-04-01T00:00Z
