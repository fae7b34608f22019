-- Webhooks we send: who wants state updates, and what became of each (ADR 23).

create table webhook_endpoints (
    id            text primary key,
    url           text not null,
    description   text not null,
    types         text[],                    -- null: all
    accounts      text[],                    -- null: all, and what is about none
    secrets       jsonb not null,            -- those that sign, the newest first; null for `until`: for good
    state         text not null check (state in ('enabled', 'disabled')),
    reason        text,                      -- why it is disabled
    created_at    timestamptz not null,
    position      bigint not null,           -- updates up to here have their deliveries, or need none
    missed_until  bigint not null,           -- those up to here happened while it was disabled
    delivered_at  timestamptz,               -- wall clock, as are all that follow
    failing_since timestamptz,               -- it has taken nothing since then
    warned_at     timestamptz,               -- people have been told so
    due_at        timestamptz,               -- the earliest of its deliveries
    attempts      integer not null default 0, -- of working on it, failures in a row
    error         text,
    fence         bigint not null default 0, -- grows with each claim: only the latest may go on
    leased_by     bigint,
    leased_until  timestamptz,
    retry_at      timestamptz
);

-- One update for one endpoint. What is sent is read from the update when it is sent.
create table webhook_deliveries (
    account        text not null,            -- '': the update is about no account
    endpoint       text not null,
    position       bigint not null,          -- of the update, as are the next two
    update_id      text not null,
    type           text not null,
    state          text not null check (state in ('waiting', 'delivered', 'dead_letter', 'failed', 'missed')),
    tries          integer not null default 0,
    first_tried_at timestamptz,              -- wall clock, as are the next two
    tried_at       timestamptz,
    due_at         timestamptz,              -- null: it is not tried by itself
    gap            boolean not null default false,
    status         integer,                  -- of the last try, as is the rest
    took_ms        integer,
    error          text,
    answer         text not null default '',
    primary key (account, endpoint, position)
);
create index webhook_deliveries_due on webhook_deliveries (endpoint, due_at, position) where due_at is not null;
create index webhook_deliveries_listed on webhook_deliveries (endpoint, position);
create index webhook_deliveries_undelivered on webhook_deliveries (endpoint, account, position)
    where state in ('dead_letter', 'failed', 'missed');
