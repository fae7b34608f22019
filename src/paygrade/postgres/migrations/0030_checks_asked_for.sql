-- How often somebody asked to have a window compared with the provider: who compares tells what was asked for meanwhile
-- from what they answer.
alter table reports add column asks integer not null default 0;
