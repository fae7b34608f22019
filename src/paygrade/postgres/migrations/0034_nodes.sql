-- The latest word on each place below an account that has limits of its own: folded from facts, whose bodies they are.
create table nodes (
    account  text not null,
    path     text collate "C" not null, -- from the root: team-a/jane
    sequence bigint not null,
    number   bigint not null,           -- of the fact that says so
    body     json not null,
    removed  boolean not null,
    primary key (account, path)
);
