-- What a person looks at first, of all accounts: what can't be read, and what differs.
create index subjects_failing on subjects (attempts desc, subject) where error is not null;
create index drift_open_by_id on drift (id) where healed_at is null;
