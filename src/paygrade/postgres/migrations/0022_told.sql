-- API keys in the order in which they expire: that one does soon, and that it has, is told by date.
create index api_keys_expiring on api_keys (expires_at, id) where revoked_at is null and expires_at is not null;
