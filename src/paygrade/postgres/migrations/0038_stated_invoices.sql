-- Whose invoices are stated, and not read from a provider: the reports of money go through accounts by key.
create index invoice_facts_stated on invoice_facts (subject) where subject like 'account:%';
