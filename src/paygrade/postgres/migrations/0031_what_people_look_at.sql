-- What a person looks at first, of all accounts: top-ups that failed, what waits for a second person, and plan changes
-- by how they stand and when they came to it, or are to.
create index top_ups_failed on top_ups (resolved_at) where state = 'failed';
create index approvals_that_wait on approvals (expires_at) where state = 'waiting';
create index plan_changes_by_state on plan_changes (state, coalesce(resolved_at, asked_at), account, id);
create index plan_changes_to_come on plan_changes (effective_at, account, id) where state = 'scheduled';
