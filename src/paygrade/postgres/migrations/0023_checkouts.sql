-- Pages of the provider on which accounts buy for the first time: what was asked for, and how each stands. An account has
-- one at a time on which something can be bought.
create table checkouts (
    account      text not null,
    id           text not null,             -- ours: it names the page at the provider
    request      text not null,             -- digest of what is sold and where the customer goes from there
    ordered      json,                      -- what the provider is asked for, whole; null: erased
    plan         text not null,             -- the version that is sold
    trial_days   integer,                   -- null: without a trial
    state        text not null,             -- asked, open, complete, expired, failed
    asked_at     timestamptz not null,      -- billing clock, as are the next two
    expires_at   timestamptz,               -- null: the provider has not made it yet
    closed_at    timestamptz,
    session      text,                      -- at the provider, as are the next three
    customer     text,
    subscription text,
    url          text,
    fence        bigint not null default 1,
    leased_by    bigint,
    leased_until timestamptz,
    retry_at     timestamptz,
    attempts     integer not null default 0,
    error        text,
    primary key (account, id)
);
create unique index checkouts_open on checkouts (account) where state in ('asked', 'open');
create index checkouts_over on checkouts (asked_at) where state in ('expired', 'failed');
