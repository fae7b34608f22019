# Trials: how they end, with a card and without.

story a trial with a good card becomes a subscription on the second

2026-03-01T09:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly x2, 14 days of trial
  acme exports, editor: allowed trial, state trialing, plan pro, until 2026-03-15T09:00Z
  acme seats 2: allowed trial, limit 2
2026-03-15T08:59:59Z
  acme editor: allowed trial, state trialing
+1s
  acme editor: allowed plan, state active
+2h
  acme editor: allowed plan, state active
  acme api_calls: allowed plan, resets 2026-04-15T09:00Z


story a trial without a card that cancels says that the trial ended

2026-03-01T09:00Z
  provider: acme signs up with no card
  provider: acme subscribes to pro_monthly, 14 days of trial, canceled if there is no card then
  acme editor: allowed trial, state trialing
2026-03-15T08:59:59Z
  acme editor: allowed trial
+1s
  acme exports, editor: denied trial_ended, state canceled
  acme seats 1: allowed plan, plan free, limit 1


story a trial without a card that pauses says that the trial ended, and a card brings it back

2026-03-01T09:00Z
  provider: acme signs up with no card
  provider: acme subscribes to pro_monthly, 14 days of trial, paused if there is no card then
2026-03-15T09:00Z
  acme exports, editor: denied trial_ended, state paused
  acme api_calls: allowed plan, plan free
# The trial ended on the 15th, billing begins on the 20th: calls come back on the 20th of each month.
2026-03-20T18:00Z
  provider: acme puts in a good card
  acme editor: denied trial_ended
  provider: acme resumes
  acme editor: allowed plan, state active
  acme api_calls: allowed plan, plan pro, resets 2026-04-20T18:00Z


story a trial without a card that makes an invoice goes on, and is in grace when nobody pays

2026-03-01T09:00Z
  provider: acme signs up with no card
  provider: acme subscribes to pro_monthly, 14 days of trial, invoiced if there is no card then
2026-03-15T09:00Z
  acme editor: allowed plan, state active
2026-03-15T09:59:59Z
  acme editor: allowed plan, state active
+1s
  acme editor: allowed grace, state grace, until 2026-03-22T10:00Z


story a card put in on the last day saves the trial

2026-03-01T09:00Z
  provider: acme signs up with no card
  provider: acme subscribes to pro_monthly, 14 days of trial, canceled if there is no card then
2026-03-14T20:00Z
  provider: acme puts in a good card
  acme editor: allowed trial
2026-03-15T09:00Z
  acme editor: allowed plan, state active


story a card taken away during the trial does not save it

2026-03-01T09:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly, 14 days of trial, canceled if there is no card then
2026-03-14T20:00Z
  provider: acme takes the card away
  acme editor: allowed trial
2026-03-15T09:00Z
  acme editor: denied trial_ended, state canceled


story a trial whose card fails is in grace after the draft hour

2026-03-01T09:00Z
  provider: acme signs up with a failing card
  provider: acme subscribes to pro_monthly, 14 days of trial
2026-03-15T09:00Z
  acme editor: allowed plan, state active
2026-03-15T10:00Z
  acme editor: allowed grace, state grace


story a trial that was extended ends at the new date

2026-03-01T09:00Z
  provider: acme signs up with no card
  provider: acme subscribes to pro_monthly, 14 days of trial, canceled if there is no card then
2026-03-10T00:00Z
  provider: acme extends the trial until 2026-03-25T00:00Z
2026-03-15T09:00Z
  acme editor: allowed trial, until 2026-03-25T00:00Z
2026-03-25T00:00Z
  acme editor: denied trial_ended


story a trial ended early by paying is a plain subscription at once

2026-03-01T09:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly, 14 days of trial
2026-03-04T12:00Z
  provider: acme ends the trial now
  acme editor: allowed plan, state active
  acme api_calls: allowed plan, resets 2026-04-04T12:00Z


story a trial canceled at its end says that the trial ended

2026-03-01T09:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly, trial until 2026-03-15T09:00Z
2026-03-05T00:00Z
  provider: acme cancels at period end
  acme editor: allowed trial, until 2026-03-15T09:00Z
2026-03-15T09:00Z
  acme editor: denied trial_ended, state canceled


story a trial canceled in the middle was canceled

2026-03-01T09:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly, 14 days of trial
2026-03-05T00:00Z
  provider: acme cancels now
  acme editor: denied canceled, state canceled


story a trial of an add-on beside a plan leaves the plan alone

2026-03-01T09:00Z
  provider: acme signs up with a good card
  provider: acme subscribes to pro_monthly as main
  provider: acme subscribes to audit_monthly as extra, 7 days of trial, canceled if there is no card then
  acme audit_log: allowed trial, state trialing
  acme editor: allowed plan
  provider: acme takes the card away
2026-03-08T09:00Z
  acme audit_log: denied not_in_plan, plan pro
  acme editor: allowed plan, state active
