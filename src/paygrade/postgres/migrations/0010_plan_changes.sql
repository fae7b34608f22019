-- Plan changes: what was asked of the provider and what came of it, whoever asked.

create table plan_changes (
    account      text not null,
    id           text not null,
    key          text not null,              -- under which it was asked for: the same key asks for the same change
    quote        text,                       -- what it carries out; null: nobody quoted it
    source       text not null,              -- request, billing: it was seen in a fact
    act          text not null,              -- change, cancel, keep_going, pause, resume, set_trial, end_trial
    state        text not null,              -- asked, pending, scheduled, applied, failed, canceled
    undo         boolean not null default false, -- it is being taken back
    subscription text not null,
    subject      text not null,              -- whose statement says how the subscription stands
    effective_at timestamptz,                -- null: at once; billing clock, as are the next
    asked_at     timestamptz not null,
    resolved_at  timestamptz,
    quoted       json,                       -- the quote, whole
    settlement   json,                       -- what followed, once facts told of it
    expected     json,                       -- what the subscription is to buy: [[key, quantity, price], …]
    trial_ends_at timestamptz,               -- of set_trial
    reverts      text,                       -- the change that this one takes back, as is the next the other way round
    reverted_by  text,
    invoice      text,                       -- at the provider, as is the next
    schedule     text,
    pay_url      text,                       -- where the customer confirms or pays
    reason       text,                       -- why it failed, in the provider's words
    error        text,                       -- what went wrong at the last try
    done_fence   bigint,                     -- the provider said that it is done: a reading beyond this fence tells
    attempts     integer not null default 0, -- failures in a row
    fence        bigint not null default 0,  -- grows with each claim: only the latest may go on
    leased_until timestamptz,                -- wall clock, as is the next
    retry_at     timestamptz,
    primary key (account, id),
    unique (account, key)
);
create unique index plan_changes_open on plan_changes (account) where state in ('asked', 'pending');
create unique index plan_changes_scheduled on plan_changes (account, subscription) where state = 'scheduled';
create unique index plan_changes_quoted on plan_changes (account, quote) where quote is not null;
create index plan_changes_waiting on plan_changes (asked_at)
    where done_fence is null and (state in ('asked', 'pending', 'scheduled') or schedule is not null);

-- What happened to a plan change, step by step.
create table plan_change_steps (
    account text not null,
    change  text not null,
    number  integer not null,
    at      timestamptz not null,            -- billing clock
    step    text not null,
    detail  text not null,
    primary key (account, change, number)
);

-- Since when what an account buys was last looked at for changes, and when dates alone change it next.
alter table accounts add column settled_at timestamptz, add column settle_at timestamptz;
create index accounts_to_settle on accounts (settle_at) where settle_at is not null;
