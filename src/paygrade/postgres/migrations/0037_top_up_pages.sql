-- A top-up may be bought on a page of the provider: it is `open` while that waits for the customer, which is a state of
-- its own so that nobody who knows of none charges for it.

alter table top_ups add column session text; -- of that page; null: the customer's own payment method is charged
create index top_ups_pages on top_ups (customer) where state = 'open';
create index top_ups_of_pages on top_ups (asked_at) where state = 'open';
