-- Who did what: records that are only ever added, each with the hash of the one before it in its chain. A chain is that
-- of an account, or of the environment (the empty account). `jsonb` here: two ways to write one value are no edit.
create table audit (
    account     text not null,             -- empty: what is done to no account
    number      bigint not null check (number > 0), -- from 1, without a gap
    version     integer not null,          -- of the record's form
    action      text not null,             -- noun.verb
    occurred_at timestamptz not null,
    request     text,
    targets     jsonb not null,
    changes     jsonb not null,
    actor       jsonb,                     -- sealed, as are the next two: in the chain by a commitment, and erasable
    address     text,
    personal    jsonb,
    erasable    jsonb not null,            -- which of the sealed fields an erasure of the account takes
    commitments jsonb not null,
    salts       jsonb not null,            -- without its salt, a sealed field was erased
    previous    text not null,             -- the hash of the record before
    hash        text not null,
    primary key (account, number)
);
create index audit_by_time on audit (occurred_at, account, number);
create index audit_by_action on audit (action, occurred_at);
create index audit_by_actor on audit ((actor ->> 'id'), occurred_at);

-- The last record of each chain. Whoever adds one locks this row, last of all that it locks.
create table audit_heads (
    account text primary key,
    number  bigint not null,
    hash    text not null
);
