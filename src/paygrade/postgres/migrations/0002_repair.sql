-- Repair: what the events poll has seen, sweeps and how far they came, and the drift both found.
--
-- There is one poll and at most one unfinished sweep for a provider, so those two tables are about the provider and
-- begin with no account or subject; they hold a few rows.

create table polls (
    provider     text primary key,
    watermark    timestamptz,              -- every event created until here was seen; the provider's clock
    polled_at    timestamptz,              -- when the latest finished poll began; billing clock
    every_s      integer not null default 60,
    seen         integer not null default 0, -- by the latest finished poll
    missed       integer not null default 0, -- of them, those that should have come by webhook and had not
    error        text,
    leased_until timestamptz,              -- wall clock, as is the next
    next_at      timestamptz
);

create table sweeps (
    id           bigint generated always as identity primary key,
    provider     text not null,
    dry_run      boolean not null,
    started_at   timestamptz not null,     -- billing clock, as is the next
    finished_at  timestamptz,
    cursor       text,                     -- the last subscription compared; null: none yet
    counts       json not null,
    report       json,                     -- what a dry run found
    error        text,
    attempts     integer not null default 0, -- failures in a row
    fence        bigint not null default 0, -- grows with each claim: only the latest one may go on
    touched_at   timestamptz not null default clock_timestamp(), -- wall clock, as are the next
    leased_until timestamptz,
    retry_at     timestamptz
);
create unique index sweeps_unfinished on sweeps (provider) where finished_at is null;

-- The subscriptions that the sweep under way has been told of: a live one that is missing here is asked for by id.
create table sightings (
    subject      text not null,
    subscription text not null,
    primary key (subject, subscription)
);

-- Where what was stored and what the provider says differed, though no billing event had said so.
create table drift (
    subject      text not null,
    id           bigint generated always as identity,
    account      text not null,
    subscription text,                     -- null: about the customer itself
    field        text not null,
    stored       text,                     -- null: nothing, as is the next
    provider     text,
    found_by     text not null,            -- sweep or poll
    found_at     timestamptz not null,     -- billing clock, as is the next
    healed_at    timestamptz,
    primary key (subject, id)
);
create unique index drift_by_id on drift (id);
create unique index drift_open on drift (subject, coalesce(subscription, ''), field) where healed_at is null;

alter table inbox add column polled boolean not null default false; -- a webhook should have brought it; the poll found it
