-- Plan changes of all accounts, in the order in which a person looks at them: those to come, and those under way.
create index plan_changes_to_come on plan_changes (effective_at, account, subscription) where state = 'scheduled';
create index plan_changes_under_way on plan_changes (asked_at desc, account, id) where state in ('asked', 'pending');
