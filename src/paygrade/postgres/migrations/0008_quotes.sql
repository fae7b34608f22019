-- Quotes of plan changes: what was said a change would do, and what it was said on.

create table quotes (
    account         text not null,
    id              text not null,
    account_version bigint not null,           -- what it was made on, as is the next
    catalog_version integer not null,
    digest          text not null,             -- of all that the quote says
    made_at         timestamptz not null,      -- billing clock, as is the next
    expires_at      timestamptz not null,
    body            json not null,             -- the quote, whole
    primary key (account, id)
);
create index quotes_expired on quotes (expires_at);
