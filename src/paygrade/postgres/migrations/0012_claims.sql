-- Whatever is claimed is claimed alike: a fence that grows with each claim, a lease with its holder, a pause, and what
-- went wrong how often in a row.

alter table reports add column leased_by bigint;
alter table top_ups add column leased_by bigint;
alter table plan_changes add column leased_by bigint;
alter table sweeps add column leased_by bigint;

-- `next_at` is the earlier release's name for what is a pause, too; nothing reads it any more.
alter table polls add column fence bigint not null default 0, add column leased_by bigint,
    add column retry_at timestamptz, add column attempts integer not null default 0;
update polls set retry_at = next_at;

alter table plan_migration_accounts add column fence bigint not null default 0, add column leased_by bigint,
    add column leased_until timestamptz, add column retry_at timestamptz, add column error text,
    add column attempts integer not null default 0;
