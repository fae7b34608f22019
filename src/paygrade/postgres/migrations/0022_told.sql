-- API keys in the order in which they expire: that one does soon, and that it has, is told by date.
create index api_keys_expiring on api_keys (expires_at, id) where revoked_at is null and expires_at is not null;

-- Where audit records are sent beside the log, as servers are set; one that no server has named for a week is forgotten.
create table audit_streams (
    stream       text primary key,           -- syslog, otlp
    seen_at      timestamptz not null,       -- when a server last named it; wall clock
    attempts     integer not null default 0, -- failures in a row
    error        text,
    fence        bigint not null default 0,  -- grows with each claim: only the latest may go on
    leased_by    bigint,
    leased_until timestamptz,
    retry_at     timestamptz
);

-- Audit records that a stream has not taken yet: written with the record, removed once it is sent.
create table audit_unsent (
    account text not null,
    number  bigint not null,
    stream  text not null,
    place   bigint generated always as identity, -- the order in which they are sent
    primary key (account, number, stream)
);
create index audit_unsent_of_stream on audit_unsent (stream, place);
