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

-- People who log in, with a password kept by Argon2id; `totp_secret` is what their authenticator app holds, too.
create table people (
    id            text primary key,
    email         text not null unique,      -- in lower case
    name          text not null,
    role          text not null,
    password_hash text not null,
    totp_secret   text,
    totp_step     bigint not null default 0, -- the last code that was taken: none is taken twice
    failures      integer not null default 0,
    retry_at      timestamptz,               -- no attempt before; after several failures in a row
    created_at    timestamptz not null,
    created_by    text not null,
    seen_at       timestamptz                -- when they logged in last
);

-- Of what a browser holds, the SHA-256.
create table sessions (
    hash       text primary key,
    person     text not null,
    created_at timestamptz not null,
    expires_at timestamptz not null
);
create index sessions_of_a_person on sessions (person);
