-- What was granted, taken back and stated of units is read with the facts of an account, among any number of uses.
create index ledger_statements on ledger (account, recorded_at, id) where kind in ('grant', 'void', 'set');
