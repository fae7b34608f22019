# Two things that are both called a pause.

story pausing collection is no pause: drafts kept

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme stops collecting, keeping drafts
  acme editor: allowed plan, state active
2026-04-01T02:00Z
  acme editor: allowed plan, state active


story pausing collection is no pause: invoices voided

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme stops collecting, voiding invoices
2026-04-01T02:00Z
  acme editor: allowed plan, state active


story pausing collection is no pause: invoices written off, and collecting again bills again

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme stops collecting, writing invoices off
2026-04-01T02:00Z
  acme editor: allowed plan, state active
  provider: acme collects again
  provider: acme's card starts failing
2026-05-01T02:00Z
  acme editor: allowed grace, state grace


story a paused subscription counts as the free plan until it is resumed

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x3
2026-03-10T00:00Z
  provider: acme pauses
  acme exports, editor: denied paused, state paused
  acme api_calls: allowed plan, plan free, limit 1000
2026-06-10T00:00Z
  acme editor: denied paused, state paused
  provider: acme resumes
  acme exports, editor: allowed plan, state active
  acme seats 3: allowed plan, plan pro, limit 3
  acme api_calls: allowed plan, limit 100000, resets 2026-07-10T00:00Z


story a pause leaves nothing where nothing is free
catalog no_free_plan

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to team_monthly
  provider: acme pauses
  acme editor, reports, seats: denied paused, state paused


story a resumption whose payment fails does not resume

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
2026-03-10T00:00Z
  provider: acme pauses
  provider: acme's card starts failing
  provider: acme resumes
  acme editor: denied paused, state paused
2026-03-10T12:00Z
  provider: acme puts in a good card
  provider: acme pays its latest invoice
  acme editor: allowed plan, state active
