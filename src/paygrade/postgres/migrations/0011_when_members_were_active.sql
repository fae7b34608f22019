-- When a member was last active: whoever was not for longest may be the first to lose a seat.
create index ledger_members on ledger (account, member, time) where member is not null;
