-- Since when what a fact says may have held: when the first billing event behind it happened that is younger than the
-- reading before, and since when its subject belongs to this account, where it belonged to another. Null: nobody knows.
alter table facts add column happened_at timestamptz, add column joined_at timestamptz;
