-- The ledger: what was used, held and granted. Every balance is the sum of the draws of ledger entries.
--
-- A pool is one feature or credit of one account; a slot is one counter of a pool. Rows are locked in the order
-- balances, then grants, then reservations, each in the order of their keys, so no two transactions wait for each other.

create table ledger (
    account     text not null,
    id          text not null,             -- chosen by whoever tells: an id has at most one effect
    kind        text not null,             -- event consume reserve commit release extend expire grant void set carry_over
    feature     text not null,             -- what was asked for; of an event, its name
    quantity    bigint not null,           -- as asked
    time        timestamptz not null,      -- when it happened
    recorded_at timestamptz not null,      -- when we learned it; both by the billing clock
    digest      bigint not null,           -- of what was asked: the same id with another body is a conflict
    denied      text,                      -- the reason of a denial; null: it took effect
    draws       json not null,             -- what it changed: [[pool, slot, used, reserved], …]
    member      text,
    properties  json,                      -- of a usage event, to group by and to extract values from
    answer      json,                      -- what was answered, for those who ask again
    primary key (account, id)
);
create index ledger_recorded on ledger using brin (recorded_at);

create table balances (
    account    text not null,
    pool       text not null,
    slot       text not null,              -- `2026-11-01T00:00:00Z`: the window that begins then; `lifetime`: held for good
    used       bigint not null default 0,
    reserved   bigint not null default 0,
    version    bigint not null default 0,  -- grows with each change: the newest one heard is the one that counts
    from_at    timestamptz,                -- of the window; null: lifetime
    until      timestamptz,
    expires_at timestamptz,                -- no reservation on it ends before; null: none is open
    detail     json,                       -- what cannot be added up: exact fractions, latest values
    primary key (account, pool, slot)
);

-- Units granted by themselves, beside what plans and add-ons allow: purchases, top-ups, promotions.
create table grants (
    account     text not null,
    pool        text not null,
    id          text not null,
    kind        text not null,
    units       bigint not null,
    priority    smallint not null,
    from_at     timestamptz not null,
    until       timestamptz,               -- null: never expires
    used        bigint not null default 0,
    reserved    bigint not null default 0,
    voided      bigint not null default 0,
    reason      text not null,
    recorded_at timestamptz not null,
    primary key (account, pool, id)
);

create table reservations (
    account    text not null,
    id         text not null,
    feature    text not null,
    member     text,
    units      bigint not null,            -- as reserved
    committed  bigint not null default 0,
    state      text not null,              -- open, committed, released, expired
    held       json not null,              -- what is still held: [[pool, slot, units], …]
    made_at    timestamptz not null,
    expires_at timestamptz not null,
    primary key (account, id)
);
create index reservations_open on reservations (account, expires_at) where state = 'open';

-- The different values a `unique` meter has seen in a window.
create table seen_values (
    account text not null,
    pool    text not null,
    slot    text not null,
    value   text not null,
    primary key (account, pool, slot, value)
);

-- Thresholds that usage has passed: of a window, once upwards, and once downwards when it is over or there is room again.
create table alerts (
    account     text not null,
    pool        text not null,
    slot        text not null,
    percent     integer not null,          -- of the limit
    used        bigint not null,           -- when it was passed, as is the next
    units       bigint not null,           -- the limit
    raised_at   timestamptz not null,
    resolved_at timestamptz,
    looked_at   timestamptz not null,      -- when it was last looked whether it still holds
    primary key (account, pool, slot, percent)
);
create index alerts_open on alerts (looked_at) where resolved_at is null;
