# Every way in which what windows are aligned to can move. What was given once is not given again before its time; what is
# billed anew begins fresh, and keeps what is carried over. `calls` are 1000 a month, of which 100 are carried over.

story a billing day that is moved gives nothing before the new day, however often it is moved
catalog moving

2026-01-10T12:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 1000 calls: allowed plan, used 1000, remaining 0, resets 2026-02-10T12:00Z
  product: acme consumes 50 coins: allowed plan, remaining 0
2026-01-15T12:00Z
  provider: acme moves its billing day to 2026-02-01T00:00Z
  product: acme consumes 1 calls: denied limit_reached, used 1000, resets 2026-02-01T00:00Z
  acme coins: denied limit_reached, used 50
2026-01-16T12:00Z
  provider: acme moves its billing day to 2026-02-03T00:00Z
  product: acme consumes 1 calls: denied limit_reached, used 1000, resets 2026-02-03T00:00Z
2026-02-02T23:59:59Z
  acme calls: denied limit_reached, used 1000
+1s
  acme calls: allowed plan, used 0, limit 1000, resets 2026-03-03T00:00Z
+2h
  product: acme consumes 1000 calls: allowed plan, remaining 0
2026-03-03T00:00Z
  acme calls: allowed plan, used 0, resets 2026-04-03T00:00Z


story a billing day moved beyond the month leaves no window that would only last for days
catalog moving

2026-01-10T12:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 900 calls: allowed plan, used 900
2026-01-15T12:00Z
  provider: acme moves its billing day to 2026-02-20T00:00Z
  acme calls: allowed trial, used 900, resets 2026-02-20T00:00Z
2026-02-12T00:00Z
  acme calls: allowed trial, used 900, remaining 100, resets 2026-02-20T00:00Z
2026-02-20T02:00Z
  acme calls: allowed plan, used 0, limit 1100, resets 2026-03-20T00:00Z


story an early billing day moved with the month half over keeps that month's use
catalog moving

2026-01-10T12:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
2026-02-12T00:00Z
  product: acme consumes 600 calls: allowed plan, used 600, resets 2026-03-10T12:00Z
  provider: acme moves its billing day to 2026-02-20T00:00Z
  acme calls: allowed trial, used 600, resets 2026-02-20T00:00Z
2026-02-20T02:00Z
  acme calls: allowed plan, used 0, limit 1100, resets 2026-03-20T00:00Z


story on a yearly plan the month goes on when the billing day is moved
catalog moving

2026-01-10T12:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_yearly
2026-06-15T00:00Z
  product: acme consumes 1100 calls: allowed credit, resets 2026-07-10T12:00Z
  provider: acme moves its billing day to 2026-07-01T00:00Z
  acme calls: denied limit_reached, used 1100, resets 2026-07-01T00:00Z
2026-07-01T02:00Z
  acme calls: allowed plan, used 0, resets 2026-08-01T00:00Z


story a trial that is extended gives nothing again
catalog moving

2026-03-01T09:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly, 14 days of trial
  product: acme consumes 1000 calls: allowed trial, used 1000, resets 2026-03-15T09:00Z
2026-03-10T00:00Z
  provider: acme extends the trial until 2026-03-25T00:00Z
  product: acme consumes 1 calls: denied limit_reached, used 1000, resets 2026-03-25T00:00Z
2026-03-20T00:00Z
  provider: acme extends the trial until 2026-03-30T00:00Z
  acme calls: denied limit_reached, used 1000, resets 2026-03-30T00:00Z
2026-03-30T02:00Z
  acme calls: allowed plan, used 0, limit 1000, resets 2026-04-30T00:00Z


story who begins a trial has used what they used before it
catalog moving

2026-03-01T09:00Z
  provider: acme signs up with a good card
  product: acme consumes 10 calls: allowed plan, used 10, remaining 0, plan free, resets 2026-04-01T09:00Z
2026-03-25T00:00Z
  provider: acme subscribes to pro_monthly as first, 14 days of trial
  product: acme consumes 990 calls: allowed trial, used 1000, remaining 0, resets 2026-04-08T00:00Z
2026-03-26T00:00Z
  provider: acme/first cancels now
  acme calls: denied limit_reached, used 1000, limit 10, resets 2026-04-01T09:00Z
  provider: acme subscribes to pro_monthly as second, 14 days of trial
  acme calls: denied limit_reached, used 1000, limit 1000


story a cycle that begins anew is paid anew and begins fresh, with what is carried over
catalog moving

2026-03-05T09:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
2026-03-15T09:00Z
  product: acme consumes 950 calls: allowed plan, used 950
  product: acme consumes 50 coins: allowed plan, remaining 0
  product: acme consumes 40 mails: allowed plan, used 40, resets 2026-04-01T00:00Z
  provider: acme begins its billing cycle anew
  acme calls: allowed plan, used 0, limit 1050, resets 2026-04-15T09:00Z
  acme coins: allowed plan, used 0, limit 50
  acme mails: allowed plan, used 40, limit 100, resets 2026-04-01T00:00Z
2026-04-15T09:00Z
  acme calls: allowed plan, used 0, limit 1100, resets 2026-05-15T09:00Z


story a cycle that begins anew with a card that fails gives nothing
catalog moving

2026-03-05T09:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  product: acme consumes 1000 calls: allowed plan, remaining 0
2026-03-15T09:00Z
  provider: acme's card starts failing
  provider: acme begins its billing cycle anew
  acme calls: denied limit_reached, used 1000
  provider: acme puts in a good card
  provider: acme pays its latest invoice
  acme calls: allowed plan, used 0, resets 2026-04-15T09:00Z


story a cancellation set the classic way moves nothing, and what was used counts on the free plan
catalog moving

2026-03-05T09:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly, billed the classic way
  product: acme consumes 1000 calls: allowed plan, used 1000
2026-03-10T00:00Z
  provider: acme cancels as of 2026-03-20T00:00Z
  acme calls: denied limit_reached, used 1000, resets 2026-04-05T09:00Z
2026-03-20T00:00Z
  acme calls: denied limit_reached, used 1000, limit 10, resets 2026-04-05T09:00Z
2026-04-05T09:00Z
  acme calls: allowed plan, used 0, limit 10, resets 2026-05-05T09:00Z


story unpaid and then canceled the free plan is had once, not twice
catalog moving

2026-01-20T00:00Z
  provider: dunning ends in unpaid
  operator: account acme
2026-03-05T09:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly
  provider: acme's card starts failing
2026-04-20T00:00Z
  product: acme consumes 10 calls: allowed plan, used 10, remaining 0, plan free, resets 2026-05-05T09:00Z
  provider: acme cancels now
  acme calls: denied limit_reached, used 10, limit 10, resets 2026-05-05T09:00Z
2026-05-05T09:00Z
  acme calls: allowed plan, used 0, resets 2026-06-05T09:00Z


story an older customer that is linked later moves no window
catalog moving

2026-03-05T00:00Z
  provider: old signs up without an account, with a good card
2026-03-20T00:00Z
  operator: account acme
  product: acme consumes 10 calls: allowed plan, remaining 0, resets 2026-04-20T00:00Z
2026-03-25T00:00Z
  operator: account acme linked to @old
  acme calls: denied limit_reached, used 10, resets 2026-04-20T00:00Z


story the same plan bought once more keeps what was used, and counts as the first one does
catalog moving

2026-03-01T00:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly as first
  product: acme consumes 900 calls: allowed plan, used 900
2026-03-13T00:00Z
  provider: acme subscribes to pro_monthly as second
  acme calls: allowed plan, used 900, limit 1000, resets 2026-04-01T00:00Z
2026-03-20T00:00Z
  provider: acme's card starts failing
2026-04-01T02:00Z
  acme calls: allowed plan, used 0, limit 1100, resets 2026-05-01T00:00Z
# The first one is unpaid now; what counts is still its window, as nothing else has begun.
2026-04-03T00:00Z
  product: acme consumes 1000 calls: allowed plan, used 1000, resets 2026-05-01T00:00Z


story a paused subscription that goes on with a new cycle begins fresh
catalog moving

2026-03-01T09:00Z
  provider: acme signs up with no card
  provider: acme subscribes to pro_monthly, 14 days of trial, paused if there is no card then
  product: acme consumes 1000 calls: allowed trial, used 1000
2026-03-16T00:00Z
  provider: acme puts in a good card
  provider: acme resumes
  acme calls: allowed plan, used 0, resets 2026-04-16T00:00Z
