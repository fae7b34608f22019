# Who is invited: what they may, what they hold, and when that ends.

story an invitation holds a seat until it is accepted
catalog team

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x2
  operator: member ann of acme is owner with a seat
  operator: bo is invited to acme as editor with a seat
  acme seats: denied limit_reached, limit 2, used 2
  acme editor by bo: denied no_seat
  operator: member cy of acme is editor with a seat: refused no_seat_left
  operator: member bo of acme is editor with a seat
  acme editor by bo: allowed plan
  operator: bo is invited to acme as editor: refused already_member


story an invitation that nobody accepts gives its seat back on the instant
catalog team

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x1
  operator: bo is invited to acme as editor with a seat
2026-03-14T23:59Z
  acme seats: denied limit_reached, used 1
2026-03-15T00:00Z
  acme seats: allowed plan, used 0
  operator: member cy of acme is editor with a seat
  acme editor by cy: allowed plan
  operator: member bo of acme is editor with a seat: refused no_seat_left


story invitations are the first to lose a seat, and a member who accepts comes last
catalog team

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x3
  operator: bo is invited to acme as editor with a seat
2026-03-02T00:00Z
  operator: member ann of acme is editor with a seat
  operator: member cy of acme is editor with a seat
2026-03-03T00:00Z
  operator: override acme seats limit 2
  acme editor by ann: allowed plan
  acme editor by cy: allowed plan
  operator: member bo of acme is editor with a seat: refused no_seat_left
  operator: override acme seats limit 3
  operator: member bo of acme is editor with a seat
  operator: override acme seats limit 2
  acme editor by cy: allowed plan
  acme editor by bo: denied no_seat


story an invitation that was withdrawn holds nothing, and a policy can hold none at all
catalog:
  version: 1
  features:
    seats:  { kind: level, unit: seat }
    editor: { kind: boolean, seat: seats }
  plans:
    team:
      prices: { monthly: { amount: 1000, currency: usd, interval: month, stripe: pro_monthly } }
      entitlements: { seats: { limit: quantity }, editor: true }
  policies:
    invitations: { expire_after: never, hold_seat: false }

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x1
  operator: bo is invited to acme as editor with a seat
  acme seats: allowed plan, used 0
2026-06-01T00:00Z
  operator: member ann of acme is owner with a seat
  operator: member bo of acme is editor with a seat: refused no_seat_left
  operator: member bo of acme leaves
