-- Account tokens are signed by a key that all processes share. Whoever enters a number first has made that key; it signs
-- from `signs_from` until its successor does. PKCS 8, PEM: whoever reads this table can make tokens.
create table signing_keys (
    number      integer primary key,
    kid         text not null,
    private_key text not null,
    signs_from  timestamptz not null
);
