-- Customers who are read again since a catalog wants to know more of them than was read: how far that has come.
create table rereads (
    catalog      bigint primary key,         -- the version that wants to know
    customers    integer not null,           -- how many there were when it was published
    marked       integer not null default 0, -- how many of them were marked to be read
    after        text not null default '',   -- the subject that was marked last
    started_at   timestamptz not null,       -- billing clock, as is the next
    finished_at  timestamptz,
    fence        bigint not null default 0,
    leased_by    bigint,
    leased_until timestamptz,
    retry_at     timestamptz,
    attempts     integer not null default 0,
    error        text
);
