-- Migrations of accounts from one version of a plan or add-on to another, and how each account of them stands.

create table plan_migrations (
    id           bigint generated always as identity primary key,
    plan         text not null,            -- the key of a plan or add-on
    from_version integer,                  -- null: whatever version they are on
    to_version   integer,                  -- null: the newest, whichever it will be
    effective_at timestamptz,              -- when it takes effect, billing clock; null: at once
    reason       text not null,
    direction    text not null default 'forward' check (direction in ('forward', 'back')),
    paused       boolean not null default false,
    started_at   timestamptz not null,     -- billing clock, as is the next
    started_by   text not null,
    finished_at  timestamptz               -- null: it is under way
);
create unique index plan_migrations_running on plan_migrations (plan) where finished_at is null;

create table plan_migration_accounts (
    account   text not null,
    migration bigint not null,
    status    text not null default 'waiting' check (status in ('waiting', 'done', 'skipped', 'rolled_back')),
    reason    text,                        -- why it was skipped
    before    json,                        -- the pin there was; null: none
    fact      bigint,                      -- the number of the fact that moved it; null: nothing had to be said
    primary key (account, migration)
);
create index plan_migration_accounts_of on plan_migration_accounts (migration, status, account);
