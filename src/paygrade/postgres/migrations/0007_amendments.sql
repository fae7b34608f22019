-- A usage event may take the place of what an earlier one said; both records stay, and the later says whose place it took.
alter table ledger add column amends text; -- the id of the first event of the chain; null: it amends nothing
create index ledger_amendments on ledger (account, amends) where amends is not null;
