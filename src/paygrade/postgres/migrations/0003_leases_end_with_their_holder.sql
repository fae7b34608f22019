-- Who holds a subject's lease: the number whose advisory lock shows that its process lives. A lease without one holds
-- until its time is up.
alter table subjects add column leased_by bigint;
