-- Since when what a fact says may have held: when the first billing event behind it happened that is younger than the
-- reading before, and since when its subject belongs to this account, where it belonged to another. Null: nobody knows.
alter table facts add column happened_at timestamptz, add column joined_at timestamptz;

-- Decisions as they were answered, so that they can be asked again: denials, or all of them, as the settings say. They
-- are written behind the answers, and deleted after a while. An id sorts by when it was made.
create table decision_log (
    account    text not null,
    id         text not null,
    at         timestamptz not null,
    feature    text not null,
    quantity   bigint not null,
    member     text,
    node       text,
    properties json,
    via        text not null,              -- check, consume, reserve, authorize or ofrep
    outcome    json not null,
    primary key (account, id)
);
create index decision_log_of_feature on decision_log (account, feature, id);
create index decision_log_by_time on decision_log (at);
