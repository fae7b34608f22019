-- Links that open the customers' pages of one account for a while. Of each its SHA-256 is kept.
create table portal_sessions (
    account    text not null,
    id         text not null,
    hash       text not null,
    member     text,                        -- who acts on the pages; null: nobody says
    return_url text,                        -- where "back" leads; null: where the portal's settings say
    language   text,                        -- null: what the browser wants
    created_at timestamptz not null,        -- billing clock, as is the next
    expires_at timestamptz not null,
    primary key (account, id)
);
create index portal_sessions_of_hash on portal_sessions (hash);
create index portal_sessions_over on portal_sessions (expires_at);
