-- Accounts by the beginning of their key or name, whatever the case, and by a customer's id at the provider. Of a name,
-- what comes first: a row of an index has an end.
create index accounts_by_key on accounts (lower(account) text_pattern_ops, account) where known;
create index accounts_by_name on accounts (lower(left(name, 100)) text_pattern_ops, account) where known;
create index subjects_by_customer on subjects (split_part(subject, ':', 2)) where account is not null;

-- Billing events, the latest first: all, of a subject, and each by its id.
create index inbox_by_time on inbox (received_at, subject, event_id);
create index inbox_of_subject on inbox (subject, received_at, event_id);
create index inbox_by_event on inbox (event_id);
drop index inbox_received; -- inbox_by_time begins with it
