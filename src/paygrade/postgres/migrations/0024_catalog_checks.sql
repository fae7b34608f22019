-- How the catalog and what the provider sells compared when they were compared last; a row waits for its pause to be over.
create table catalog_checks (
    provider     text primary key,
    checked_at   timestamptz,                -- billing clock; null: never yet
    found        json not null default '[]', -- what differed: code, subject and detail of each
    fence        bigint not null default 0,
    leased_by    bigint,
    leased_until timestamptz,
    retry_at     timestamptz,
    attempts     integer not null default 0,
    error        text
);
