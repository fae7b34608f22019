-- State updates: what has changed of an account, or of what is about none, in the order in which it can be read.

-- A row is written in the transaction of what it tells of, without a place. Once it is committed it is given one, by
-- whoever holds `update_log`: so no place is ever given that a reader may have gone past (ADR 22).
create table updates (
    account       text not null,             -- '': it is about no account
    id            text not null,
    number        bigint generated always as identity, -- grows as rows are written; who waited for another's has a larger
    type          text not null,
    data          json not null,
    state_version bigint,                    -- of the account when it was written
    occurred_at   timestamptz not null,      -- billing clock, as is the next
    written_at    timestamptz not null,
    sequence      bigint,                    -- its place among those of the account, from 1 on; null: not given yet
    position      bigint,                    -- its place among all, from 1 on
    primary key (account, id)
);
create index updates_waiting on updates (number) where position is null;
create index updates_read on updates (position) where position is not null;
create index updates_of_account on updates (account, sequence) where sequence is not null;

-- How many updates each account has had: their number goes on when the rows are gone.
create table update_sequences (
    account  text primary key,
    sequence bigint not null
);

-- One row: the last place that was given, the last one that may be read, and the last one whose row is gone.
create table update_log (
    given    bigint not null default 0,
    readable bigint not null default 0,
    purged   bigint not null default 0
);
insert into update_log default values;

-- What was last announced of each account, and when a date changes it.
create table announced (
    account      text primary key,
    overview     json,                      -- null: nothing yet; the account begins as it is
    announced_at timestamptz,               -- until when its dates were followed; billing clock, as is the next
    due_at       timestamptz,
    attempts     integer not null default 0, -- failures in a row
    error        text,
    fence        bigint not null default 0, -- grows with each claim: only the latest may go on
    leased_by    bigint,
    leased_until timestamptz,               -- wall clock, as is the next
    retry_at     timestamptz
);
create index announced_due on announced (due_at) where due_at is not null;
insert into announced (account, due_at) select account, to_timestamp(0) from accounts;

-- How far windows that ended, and grants that expired, were gone through: the last one, with its key.
create table announced_ends (
    what     text primary key,              -- windows, grants
    ended_at timestamptz not null,          -- billing clock
    account  text not null default '',
    pool     text not null default '',
    key      text not null default ''       -- of the slot or the grant
);
create index balances_ending on balances (until, account, pool, slot) where until is not null;
create index grants_ending on grants (until, account, pool, id) where until is not null;
