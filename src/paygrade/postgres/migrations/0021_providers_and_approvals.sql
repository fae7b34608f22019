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
