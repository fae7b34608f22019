-- A term's `every` became a recurrence: catalogs published before say the same in the new word.
--
-- In a resolved catalog of that time nothing but terms has a text of these under `every`; within a text the quotation
-- marks would be escaped.

update catalogs
set resolved = regexp_replace(
    resolved::text,
    '"every":\s*("(hour|day|week|month|quarter|year|lifetime)")',
    '"recurrence":{"every":\1}',
    'g'
)::json
where resolved::text not like '%"recurrence":%';
