-- People may log in with an OpenID Connect provider. Such a person is its `subject`, and has no password; what `email` has
-- then is their id, since it is not null and unique, and theirs is what the provider claims.
alter table people
    add column issuer        text,
    add column subject       text,
    add column claimed_email text,
    add column must_change   boolean not null default false; -- the password they were given is only good for another one
create unique index people_of_a_provider on people (issuer, subject);

-- Log-ins with a provider that have ended in a session or a refusal, each by the SHA-256 of its state: none is used twice.
create table used_log_ins (
    state   text primary key,
    used_at timestamptz not null
);
create index used_log_ins_used_at on used_log_ins (used_at);

-- Requests that need a second person. What is waiting has changed nothing yet; once it is approved, it is done as it was
-- asked for, in the transaction that says so.
create table approvals (
    account         text not null,
    id              text not null,
    kind            text not null,           -- what moves: grants, overrides, subscriptions, plan_changes, top_ups
    state           text not null,           -- waiting, approved, declined, withdrawn, expired
    scope           text not null,           -- what whoever asks, and whoever approves, must have
    digest          text not null,           -- the same request sent again is the same approval while it waits
    method          text not null,
    path            text not null,
    query           text not null,
    headers         json not null,           -- those that say how to read the body, and its idempotency key
    body            bytea not null,
    preview         json,                    -- what it would have been answered with
    asked_by        json not null,           -- {kind, id, name}, as is the next
    asked_by_person text not null,           -- whose key or session it was, as far as is known
    resolved_by     json,
    account_version bigint not null,         -- on which it was tried; done on no other
    catalog_version bigint not null,
    reason          text not null default '',
    asked_at        timestamptz not null,
    expires_at      timestamptz not null,
    resolved_at     timestamptz,
    primary key (account, id)
);
create unique index approvals_waiting on approvals (account, digest) where state = 'waiting';
create index approvals_by_id on approvals (id);
create index approvals_asked_at on approvals (asked_at);
