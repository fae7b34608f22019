"""Account tokens and the keys that sign them: issue, and rotate.

Laws: of any number of processes one makes the next key, and all sign with it; a key is published before it signs, and
verifies until the last token it has signed has ended.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from paygrade.server.operations.accounts.record import unknown_account
from paygrade.server.operations.audit.note import note
from paygrade.server.process.account_tokens import (
    TTL_MAX,
    TTL_MAX_S,
    AccountToken,
    SigningKey,
    make_private_key,
    sign,
)
from paygrade.server.process.scopes import PublicScope
from paygrade.server.state.stream_tokens import StreamToken, StreamTokens

if TYPE_CHECKING:
    from paygrade.postgres.signing_keys import SavedSigningKey
    from paygrade.postgres.store import Store, Transaction
    from paygrade.server.state.signing_keys import SigningKeys
    from paygrade.server.state.snapshots import Snapshots

TTL_S, STREAM_TTL_S = 15 * 60, 60 * 60
AHEAD = timedelta(hours=1)
"""How long a new key is published before it signs: by then every process and whoever keeps the key set knows it."""


class TokenRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """What a token is to open, for a `member` alone where one is named, and for how many seconds."""

    scopes: tuple[PublicScope, ...] = ("decisions:read",)
    member: str | None = None
    ttl_s: Annotated[int, Meta(ge=60, le=TTL_MAX_S)] = TTL_S


class IssuedToken(AccountToken, frozen=True, kw_only=True):
    """A token, and what it says."""

    token: str


class PublishedKey(Struct, frozen=True):
    """A key that signs from an instant on. `verifies_until` None: it has no successor yet."""

    kid: str
    signs_from: datetime
    verifies_until: datetime | None


class PublishedKeys(Struct, frozen=True):
    """The keys whose tokens count, or will, the oldest first."""

    keys: tuple[PublishedKey, ...]


async def issue(
    store: "Store", snapshots: "Snapshots", keys: "SigningKeys", asked: TokenRequest, *, account: str, at: datetime
) -> IssuedToken:
    """Issue an account token.

    A JSON Web Token (ES256) to hand to a page: with it, the page reads what this one account may do, until the token
    ends. With a `member`, it asks for that member only. Refused `unknown_account`.
    """
    if not (await snapshots.load(store, account, at)).known:
        raise unknown_account(account)
    key = await _signing_key(store, keys, at)
    made = _signed(key, account=account, member=asked.member, scopes=asked.scopes, ttl_s=asked.ttl_s, at=at)
    async with store.transaction() as tx:
        changes = {"kid": key.kid, "scopes": made.scopes, "expires_at": made.expires_at}
        note(tx, "token.issue", account, changes=changes, personal={"member": made.member}, at=at)
    return made


async def stream_token(
    store: "Store", keys: "SigningKeys", given: StreamTokens, *, account: str, member: str | None, at: datetime
) -> StreamToken:
    """A token to stand in the address of a stream: the one given out before, for the first half of its time."""
    key = await _signing_key(store, keys, at)
    found = given.find(account, member, kid=key.kid, at=at)
    if found is None:
        made = _signed(key, account=account, member=member, scopes=("stream:read",), ttl_s=STREAM_TTL_S, at=at)
        found = StreamToken(made.token, key.kid, made.expires_at, at + timedelta(seconds=STREAM_TTL_S // 2))
        given.keep(account, member, found)
    return found


def _signed(
    key: SigningKey, *, account: str, member: str | None, scopes: tuple[PublicScope, ...], ttl_s: int, at: datetime
) -> IssuedToken:
    issued_at = at.replace(microsecond=0)
    said = AccountToken(
        account=account,
        member=member,
        scopes=tuple(dict.fromkeys(scopes)),
        issued_at=issued_at,
        expires_at=issued_at + timedelta(seconds=ttl_s),
    )
    return IssuedToken(token=sign(said, key), **{name: getattr(said, name) for name in said.__struct_fields__})


async def rotate(store: "Store", keys: "SigningKeys", *, revoke: bool, at: datetime) -> PublishedKeys:
    """Rotate the signing key.

    Make the next key that account tokens are signed with. It is published at once and signs an hour later; tokens of
    the key before it count until they end. Where the next one is published already, nothing changes. With `revoke`, it
    signs at once, and every token that was issued before has ended within a minute.
    """
    async with store.transaction() as tx:
        known: Sequence[SavedSigningKey] = await tx.signing_keys.load()
        if revoke or not known or known[-1].signs_from <= at:
            known = await _with_next(tx, known, signs_from=at if revoke or not known else at + AHEAD)
        # Of a key with a successor, the last token ends so long after that one began to sign.
        over = len(known) - 1 if revoke else sum(next_one.signs_from + TTL_MAX <= at for next_one in known[1:])
        await tx.signing_keys.delete_before(known[over].number)
        note(tx, "signing_key.rotate", targets=[("signing_key", known[-1].kid)], changes={"revoke": revoke}, at=at)
    keys.take(known[over:])
    published = await keys.published(store, at)
    return PublishedKeys(tuple([PublishedKey(key.kid, key.signs_from, key.verifies_until) for key in published]))


async def _signing_key(store: "Store", keys: "SigningKeys", at: datetime) -> SigningKey:
    """The key that signs now; the first one is made here."""
    found = await keys.signing(store, at)
    if found is None:
        async with store.transaction() as tx:
            known = await tx.signing_keys.load() or await _with_next(tx, (), signs_from=at)
        keys.take(known)
        found = await keys.signing(store, at)
    assert found is not None
    return found


async def _with_next(
    tx: "Transaction", known: "Sequence[SavedSigningKey]", *, signs_from: datetime
) -> "Sequence[SavedSigningKey]":
    """All keys, with a next one: the one made here, or by another process at the same moment."""
    private_key, kid = make_private_key()
    number = known[-1].number + 1 if known else 1
    await tx.signing_keys.add(number=number, kid=kid, private_key=private_key, signs_from=signs_from)
    return await tx.signing_keys.load()
