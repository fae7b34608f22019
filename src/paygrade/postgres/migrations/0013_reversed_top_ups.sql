-- The money of a top-up may go back to the customer: by a refund, or a dispute that is not won.

alter table top_ups
    add column reversed   bigint not null default 0,      -- minor units that went back
    add column taken_back bigint not null default 0,      -- units that were taken back with them
    add column to_check   boolean not null default false; -- something happened to a payment of its customer
create index top_ups_to_check on top_ups (asked_at) where to_check;
create index top_ups_of_customer on top_ups (customer) where state = 'paid';
