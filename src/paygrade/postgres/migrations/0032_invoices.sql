-- What customers were billed and paid. Access is derived from none of it, so it is apart from the facts that accounts
-- are folded from: reading it neither waits for those nor keeps them waiting (ADR 39).

-- Whose invoices wait to be read: whoever was read themselves, since then.
create table invoice_readings (
    subject      text primary key,
    dirty        bigint not null default 0,
    synced       bigint not null default 0,
    fence        bigint not null default 0,
    attempts     integer not null default 0,
    error        text,
    leased_by    bigint,
    leased_until timestamptz,
    retry_at     timestamptz,
    read_at      timestamptz               -- as of when the latest saved reading speaks; billing clock
);
create index invoice_readings_waiting on invoice_readings (read_at nulls first, subject) where dirty > synced;
create index invoice_readings_by_age on invoice_readings (read_at, subject);
insert into invoice_readings (subject, dirty) select subject, 1 from subjects where account is not null;

create table invoice_facts (
    subject     text not null,
    invoice     text not null,
    sequence    bigint not null,           -- the fence under which it was read
    as_of       timestamptz not null,      -- when the invoice stood so; billing clock
    recorded_at timestamptz not null,      -- when we learned it; billing clock
    body        json not null,
    primary key (subject, invoice, sequence)
);
