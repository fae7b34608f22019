-- What was answered to a request that carried an Idempotency-Key, so that the same request gets the same answer. A row
-- without `status` is claimed: the request is under way, or its process died before it was done. `body` is sealed with
-- the caller's own secret. The key is the first to tell rows apart by; who sent it (`actor`) the other.
create table idempotency_keys (
    actor        text not null,
    key          text not null,
    request      text not null,
    begun_at     timestamptz not null,
    status       integer,
    headers      jsonb,
    body         bytea,
    fence        bigint not null default 1,
    leased_by    bigint,
    leased_until timestamptz,
    retry_at     timestamptz,
    attempts     integer not null default 0,
    error        text,
    primary key (actor, key)
);
create index idempotency_keys_begun_at on idempotency_keys (begun_at);

-- The span in which a billing event came, as W3C Trace Context writes it: reading its subject is linked to it. Null: nobody
-- took traces.
alter table inbox add column traceparent text;
