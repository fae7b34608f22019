-- The span in which a state update was written, as W3C Trace Context writes it; null: nobody took traces.
alter table updates add column traceparent text;

-- Updates of a time, and of accounts: those with a plan, in a state, with a finding, as it was announced last; and
-- windows of usage that a person should look at.
create index updates_by_time on updates (occurred_at, position) where position is not null;
create index announced_by_plan on announced (split_part(overview ->> 'plan', '@', 1), account);
create index announced_by_state on announced ((overview ->> 'state'), account);
create index announced_with_findings on announced (account) where overview -> 'findings' is not null;
create index reports_to_look_at on reports (account, pool, slot)
    where error is not null or reason is not null or said <> told;
