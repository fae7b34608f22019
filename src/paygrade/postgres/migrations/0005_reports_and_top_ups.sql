-- Usage told to the provider, and units bought by themselves when they run low.

-- Each window of a feature whose usage is reported: what the provider was told of it, and what it is being told. These
-- rows are the queue of the reporter: one waits while something is pending, or while one of its dates has come.
create table reports (
    account      text not null,
    pool         text not null,
    slot         text not null,              -- as in balances
    from_at      timestamptz not null,
    until        timestamptz,                -- null: never ends
    version      bigint not null default -1, -- of the balance, when it was last looked at
    used         bigint not null default 0,  -- in that version
    reported     bigint not null default 0,  -- told to whichever customer
    customer     text,                       -- who was told of last; null: nobody yet
    meter        text,
    told         bigint not null default 0,  -- of `reported`, what that meter was told of that customer
    number       bigint not null default 0,  -- of the latest event told: no two have the same identifier
    pending      bigint,                     -- what is being told; null: nothing
    identifier   text,
    stamped_at   timestamptz,                -- the instant the pending event carries; billing clock, as are the next
    pending_at   timestamptz,                -- since when
    sent_at      timestamptz,                -- when the latest event was known to be taken
    looked_at    timestamptz,                -- when it was last worked out what the provider should know
    look_at      timestamptz,                -- when to do so again; null: when somebody says so
    check_at     timestamptz,                -- when to compare with the provider's own sum
    checked_at   timestamptz,
    said         bigint,                     -- that sum; null: not asked since the latest event was taken
    doubted_at   timestamptz,                -- since when it says something else than was told
    reason       text,                       -- why the rest is not told
    error        text,
    attempts     integer not null default 0, -- failures in a row
    fence        bigint not null default 0,  -- grows with each claim: only the latest may go on
    leased_until timestamptz,                -- wall clock, as is the next
    retry_at     timestamptz,
    primary key (account, pool, slot)
);
create index reports_pending on reports (pending_at) where pending is not null;
create index reports_due on reports (least(look_at, check_at)) where look_at is not null or check_at is not null;

-- The latest entries are looked through every few seconds: without this their blocks would be read whole until the next
-- vacuum, which a table that only grows may not see for a long time.
alter index ledger_recorded set (autosummarize = on);

-- Until when the ledger was looked through for windows to report, and with which catalog. One row for a provider.
create table reporting (
    provider     text primary key,
    marked_until timestamptz not null,       -- billing clock, as is the next
    scanned_at   timestamptz not null,       -- when every balance was looked at
    catalog      integer not null
);

-- Purchases of units that ran low. One is open while it is `asked`, and a credit has at most one of these.
create table top_ups (
    account      text not null,
    id           text not null,
    credit       text not null,
    units        bigint not null,            -- as the policy said when it was asked for, as are the next
    amount       bigint not null,            -- minor units of the currency
    currency     text not null,
    state        text not null,              -- asked, paid, failed
    window_at    timestamptz not null,       -- when the policy's window began; billing clock, as are the next
    asked_at     timestamptz not null,
    round        integer not null default 1, -- grows when an operator asks again: each has an invoice of its own
    round_at     timestamptz not null,       -- since when
    resolved_at  timestamptz,
    balance      bigint not null,            -- units left when it was asked for
    customer     text,                       -- who pays; null: not looked up yet
    invoice      text,                       -- null: none is known yet
    reason       text,                       -- why it comes to nothing
    error        text,
    attempts     integer not null default 0, -- failures in a row
    fence        bigint not null default 0,  -- grows with each claim: only the latest may go on
    leased_until timestamptz,                -- wall clock, as is the next
    retry_at     timestamptz,
    primary key (account, id)
);
create unique index top_ups_open on top_ups (account, credit) where state = 'asked';
create index top_ups_waiting on top_ups (asked_at) where state = 'asked';
