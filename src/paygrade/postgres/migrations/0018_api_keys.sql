-- API keys. A secret is kept as its SHA-256 alone; several of one key count while it is rotated.
create table api_keys (
    id           text primary key,
    name         text not null,
    publishable  boolean not null,
    mode         text not null,             -- test or live
    scopes       text[] not null,
    role         text,                      -- instead of scopes: what it has is known to the release
    ip_ranges    text[] not null,           -- from where it counts; empty: from anywhere
    rate_limit   integer,                   -- requests a minute, for each server process
    created_at   timestamptz not null,
    created_by   text not null,
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz,               -- written once a minute at most
    secrets      json not null              -- [{hash, hint, created_at, ends_at}], the oldest first
);
