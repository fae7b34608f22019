-- The data path of billing: events in, subjects read, facts kept, accounts folded.
--
-- Every primary key begins with its account or its subject, and every hot statement names it, so the tables can be
-- spread over nodes by that column; catalogs are the one exception, as every account reads them.
-- What is written as JSON is read back as it was written: `json`, not `jsonb`, keeps the order of keys (the order of
-- plans in a catalog is their rank) and does not refuse characters a provider's customer may have in their name.

create table catalogs (
    version      integer primary key,
    document     json not null,            -- as published
    resolved     json not null,            -- as parsed: says the same without the versions before it
    digest       text not null,
    published_at timestamptz not null,
    published_by text not null
);

create table accounts (
    account    text primary key,
    version    bigint not null default 0,  -- number of the latest fact
    state      json not null,              -- the facts folded: a cache, rebuilt by replaying them
    name       text not null default '',
    known      boolean not null default false, -- the fold says that there is such an account
    created_at timestamptz not null,
    updated_at timestamptz not null
);

create table facts (
    account     text not null,
    number      bigint not null,
    subject     text not null,
    sequence    bigint not null,
    as_of       timestamptz not null,      -- when the subject stood so
    recorded_at timestamptz not null,      -- when we learned it; never decreases within an account
    body        json not null,
    cause       text[] not null default '{}',
    primary key (account, number)
);
create index facts_of_subject on facts (account, subject, number);

-- Which account says that a provider's customer is theirs.
create table links (
    subject text primary key,
    account text not null
);
create index links_of_account on links (account);

-- The subscriptions of each account as last read: a cache for questions over all accounts.
create table subscriptions (
    account         text not null,
    id              text not null,
    subject         text not null,
    status          text,                  -- null: a word of the provider's that we do not know
    provider_status text not null,
    revived         boolean not null default false, -- read as live after it was read as ended
    items           json not null,
    primary key (account, id)
);
create index subscriptions_of_subject on subscriptions (subject, account);
create index subscriptions_by_id on subscriptions (id);

-- The queue of billing sync: a subject is waiting while dirty > synced.
create table subjects (
    subject      text primary key,
    account      text,                     -- null: not read yet
    dirty        bigint not null default 0,
    synced       bigint not null default 0,
    fence        bigint not null default 0,
    swept        boolean not null default false, -- only a sweep asked for it: who has an event goes first
    rereads      integer not null default 0, -- how often a read was doubted and asked again
    attempts     integer not null default 0, -- failures in a row
    error        text,
    marked_at    timestamptz,              -- since when it has been waiting; wall clock, like leases and retries
    leased_until timestamptz,
    retry_at     timestamptz,
    read_at      timestamptz,              -- as of when the latest saved reading speaks; billing clock
    due_at       timestamptz               -- when a date in the reading changes something at the provider; billing clock
);
create index subjects_waiting on subjects (swept, marked_at) where dirty > synced;
create index subjects_due on subjects (due_at) where due_at is not null;
create index subjects_of_account on subjects (account) where account is not null;

-- Billing events as received. They say that something changed, never what it is now.
create table inbox (
    subject     text not null,
    event_id    text not null,
    type        text not null,
    object_id   text,
    created_at  timestamptz,               -- the provider's word; nothing is ordered by it
    received_at timestamptz not null,
    body        bytea not null,
    handled_at  timestamptz,
    primary key (subject, event_id)
);
create index inbox_unhandled on inbox (subject, received_at) where handled_at is null;
create index inbox_received on inbox (received_at);
