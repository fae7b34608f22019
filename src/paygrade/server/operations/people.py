"""People: who may log in, and their sessions.

Laws: an attempt counts before the password is looked at, so that many at once are no more guesses; who fails several
times in a row waits, longer each time; what is wrong of address, password and code is not told apart; nobody gives a
role that has more scopes than they have; a session ends with its person or their reset, and opens what their role says
at each request.
"""

import secrets
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import structlog
from msgspec import Meta, Struct
from msgspec.structs import replace

from paygrade.server.operations.audit.note import because, note
from paygrade.server.process.acting import Actor, acting, acting_as
from paygrade.server.process.api_keys import digest
from paygrade.server.process.passwords import Passwords, make_password, make_totp_secret, step_of, totp_address
from paygrade.server.process.scopes import ROLES, Role, Scope, opened_by
from paygrade.server.state.api_keys import Bucket
from paygrade.values.errors import Mistake, Refused

if TYPE_CHECKING:
    from paygrade.postgres.people import SavedPerson
    from paygrade.postgres.store import Store, Transaction

log = structlog.get_logger("paygrade.people")

LASTS = timedelta(hours=12)
ATTEMPTS_A_MINUTE, ADDRESSES_MAX = 20, 10_000
FREE_FAILURES, WAIT, WAIT_MAX = 5, timedelta(seconds=30), timedelta(minutes=15)
PASSWORD_LENGTH_MIN = 12
Text = Annotated[str, Meta(min_length=1, max_length=200)]


class LogIn(Struct, frozen=True):
    """Who logs in. `code`: of their authenticator app, if they have one."""

    email: Text
    password: Annotated[str, Meta(min_length=1, max_length=1000)]
    code: Annotated[str, Meta(max_length=20)] | None = None


class PersonRequest(Struct, frozen=True):
    """A person who may log in. `totp`: with the codes of an authenticator app, too. `must_change`: the password that
    they are given lets them choose another one, and nothing else."""

    email: Text
    name: Text
    role: Role
    totp: bool = False
    must_change: bool = False


class RoleRequest(Struct, frozen=True):
    """Another role for a person."""

    role: Role


class Reset(Struct, frozen=True):
    """How a person logs in from now on. `must_change`: the password that they are given lets them choose another one,
    and nothing else."""

    totp: bool = False
    must_change: bool = False


class PasswordChange(Struct, frozen=True):
    """Another password of one's own."""

    old: Annotated[str, Meta(min_length=1, max_length=1000)]
    new: Annotated[str, Meta(min_length=PASSWORD_LENGTH_MIN, max_length=1000)]


class PersonView(Struct, frozen=True, kw_only=True):
    """A person. `seen_at`: when they logged in last. `issuer`: the provider that says who they are, and their role;
    None: they have a local account. `must_change`: before anything else, they choose a password of their own."""

    id: str
    email: str
    name: str
    role: str
    totp: bool
    created_at: datetime
    created_by: str
    seen_at: datetime | None
    issuer: str | None = None
    must_change: bool = False


class PersonWithPassword(PersonView, frozen=True, kw_only=True):
    """A person with what they log in with, shown this once. `totp_address`: for their authenticator app, as a QR
    code."""

    password: str
    totp_address: str | None


class PersonList(Struct, frozen=True):
    """A page of people, in the order they were added. `next` is the `after` of the next page; None: there is none."""

    people: tuple[PersonView, ...]
    next: str | None


class SignedIn(Struct, frozen=True, kw_only=True):
    """A person who has logged in, until their session ends."""

    actor: Actor
    person: PersonView
    scopes: frozenset[Scope]
    ends_at: datetime


class Session(Struct, frozen=True):
    """A session that has begun: what the browser holds."""

    secret: str
    person: PersonView
    ends_at: datetime


class TooSoon(Exception):
    """After several failures, for how many seconds nobody tries again."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(wait_s)
        self.wait_s = wait_s


class Attempts:
    """Attempts by network address, in this process: nobody tries many people's passwords from one place."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, address: str) -> None:
        """Count one. Raises TooSoon."""
        bucket = self._buckets.pop(address, None) or Bucket(ATTEMPTS_A_MINUTE)
        self._buckets[address] = bucket
        if len(self._buckets) > ADDRESSES_MAX:
            self._buckets.popitem(last=False)
        taken, _, wait_s = bucket.take()
        if not taken:
            raise TooSoon(wait_s)


async def log_in(store: "Store", passwords: Passwords, asked: LogIn, at: datetime) -> Session:
    """Log in.

    Begin a session of twelve hours, in a cookie. After five failures in a row, an address waits, from 30 seconds on up
    to a quarter of an hour. Refused `log_in_refused`, `code_required`, `rate_limited`.
    """
    async with store.transaction() as tx:
        person = await _attempt(tx, await tx.people.by_email(_address(asked.email)), at)
    fits = await passwords.fits(person.password_hash if person is not None else None, asked.password)
    if person is None or not fits:
        raise _wrong()
    step = _step(person, asked.code, at)
    async with store.transaction() as tx:
        found = await tx.people.lock(person.id)
        # Meanwhile they may have been reset, or their code used by another.
        if found is None or found.password_hash != person.password_hash or (step and step <= found.totp_step):
            raise _wrong()
        found = replace(found, failures=0, retry_at=None, totp_step=step or found.totp_step)
        return await begin_session(tx, found, at)


async def begin_session(tx: "Transaction", person: "SavedPerson", at: datetime) -> Session:
    """Save a person who has proven who they are, with a session of theirs."""
    secret, person = secrets.token_urlsafe(32), replace(person, seen_at=at)
    await tx.people.save(person)
    await tx.people.open(digest(secret).hex(), person=person.id, at=at, until=at + LASTS)
    with acting_as(replace(acting(), actor=Actor("person", person.id, person.name))):
        note(tx, "session.begin", targets=[("person", person.id)], at=at)
    log.info("logged_in", person=person.id)
    return Session(secret, view(person), at + LASTS)


async def change_password(
    store: "Store", passwords: Passwords, asked: PasswordChange, who: SignedIn, *, secret: str, at: datetime
) -> PersonView:
    """Change one's own password.

    Choose another password, of 12 characters or more. All your other sessions end. A wrong `old` counts as a failed
    log-in. Refused `log_in_refused`, `same_password`, `person_of_provider`, `rate_limited`.
    """
    _refuse_provided(who.person.id, who.person.issuer)
    if asked.old == asked.new:
        raise Refused("same_password", "the new password is the old one; choose another")
    async with store.transaction() as tx:
        person = await _attempt(tx, await tx.people.lock(who.person.id), at)
    if person is None or not await passwords.fits(person.password_hash, asked.old):
        raise Refused("log_in_refused", "the old password is wrong")
    hash = await passwords.hash(asked.new)
    async with store.transaction() as tx:
        found = await tx.people.lock(person.id)
        if found is None or found.password_hash != person.password_hash:  # they were reset meanwhile
            raise Refused("log_in_refused", "the old password is wrong")
        found = replace(found, password_hash=hash, must_change=False, failures=0, retry_at=None)
        await tx.people.save(found)
        await tx.people.close_all(found.id, but=digest(secret).hex())
        await tx.tell("paygrade_key", found.id)
        note(tx, "person.change_password", targets=[("person", found.id)], at=at)
    log.info("person_changed", person=found.id, by=found.id)
    return view(found)


async def _attempt(tx: "Transaction", person: "SavedPerson | None", at: datetime) -> "SavedPerson | None":
    """Count an attempt before the password is looked at. Raises TooSoon."""
    if person is None:
        return None
    _refuse_too_soon(person, at)
    person = replace(person, failures=person.failures + 1, retry_at=_next_attempt(person.failures + 1, at))
    await tx.people.save(person)
    return person


async def signed_in(store: "Store", secret: str, at: datetime) -> SignedIn | None:
    """Whose session this is; None: nobody's any more."""
    async with store.transaction() as tx:
        found = await tx.people.of_session(digest(secret).hex(), at)
    if found is None:
        return None
    person, ends_at = found
    actor = Actor("person", person.id, person.name)
    scopes = opened_by((), person.role) if not person.must_change else frozenset()
    return SignedIn(actor=actor, person=view(person), scopes=scopes, ends_at=ends_at)


async def prolong(store: "Store", secret: str, by: timedelta) -> None:
    """Let this session end so much later: where somebody is about to move the clock."""
    async with store.transaction() as tx:
        await tx.people.prolong(digest(secret).hex(), by)


async def log_out(store: "Store", secret: str) -> None:
    """Log out.

    End the session of this browser. Whoever is not logged in stays so.
    """
    async with store.transaction() as tx:
        await tx.people.close(digest(secret).hex())


async def add(
    store: "Store", passwords: Passwords, asked: PersonRequest, *, granted: frozenset[Scope], at: datetime
) -> PersonWithPassword:
    """Add a person.

    They log in with the password in the answer, which is shown this once, and with `totp` with a code of their
    authenticator app, which reads `totp_address`. Refused `email_taken`, `insufficient_scope`.
    """
    email = _address(asked.email)
    _refuse_more(asked.role, granted)
    password, totp = make_password(), make_totp_secret() if asked.totp else None
    id = f"person_{int(at.timestamp() * 1000):011x}{secrets.token_hex(4)}"
    hash = await passwords.hash(password)
    async with store.transaction() as tx:
        added = await tx.people.add(
            id=id, email=email, name=asked.name, role=asked.role, password_hash=hash, totp_secret=totp,
            created_at=at, created_by=acting().actor.id, must_change=asked.must_change,
        )  # fmt: skip
        if not added:
            raise Refused("email_taken", f"somebody has the address `{email}`; `paygrade people list` shows whom")
        person = _known(await tx.people.lock(id), id)
        personal = {"email": email, "name": asked.name}
        note(tx, "person.add", targets=[("person", id)], changes={"role": asked.role}, personal=personal, at=at)
    log.info("person_added", person=id, role=asked.role, by=acting().actor.id)
    return _with_password(person, password)


async def list_people(store: "Store", *, after: str, limit: int) -> PersonList:
    """List people.

    All who may log in, in the order they were added.
    """
    async with store.transaction() as tx:
        found = await tx.people.page(after=after, limit=limit)
    return PersonList(tuple([view(person) for person in found]), found[-1].id if len(found) == limit else None)


async def set_role(
    store: "Store", asked: RoleRequest, *, id: str, granted: frozenset[Scope], at: datetime
) -> PersonView:
    """Change a person's role.

    It counts from their next request on. Refused `unknown_person`, `insufficient_scope`, `person_of_provider`.
    """
    async with store.transaction() as tx:
        person = _known(await tx.people.lock(id), id)
        _refuse_provided(id, person.issuer)
        _refuse_more(person.role, granted)
        _refuse_more(asked.role, granted)
        changes = {"role": [person.role, asked.role]}
        person = replace(person, role=asked.role)
        await tx.people.save(person)
        note(tx, "person.set_role", targets=[("person", id)], changes=changes, at=at)
        await tx.tell("paygrade_key", id)
    log.info("person_changed", person=id, role=asked.role, by=acting().actor.id)
    return view(person)


async def reset(
    store: "Store", passwords: Passwords, asked: Reset, *, id: str, granted: frozenset[Scope], at: datetime
) -> PersonWithPassword:
    """Reset how a person logs in.

    Give them another password, shown this once, and another or no authenticator; their sessions end. Refused
    `unknown_person`, `insufficient_scope`, `person_of_provider`.
    """
    password, totp = make_password(), make_totp_secret() if asked.totp else None
    hash = await passwords.hash(password)
    async with store.transaction() as tx:
        person = _known(await tx.people.lock(id), id)
        _refuse_provided(id, person.issuer)
        # Whoever knows a password is that person.
        _refuse_more(person.role, granted)
        person = replace(person, password_hash=hash, totp_secret=totp, totp_step=0, failures=0, retry_at=None,
                         must_change=asked.must_change)  # fmt: skip
        await tx.people.save(person)
        await tx.people.close_all(id)
        await tx.tell("paygrade_key", id)
        note(tx, "person.reset", targets=[("person", id)], changes={"totp": asked.totp}, at=at)
    log.info("person_reset", person=id, by=acting().actor.id)
    return _with_password(person, password)


async def remove(store: "Store", *, id: str, reason: str = "", at: datetime) -> None:
    """Remove a person.

    They log in no more, and their sessions end; `reason` says why, for the audit log. Who comes from a provider may log
    in again, as somebody new. Refused `unknown_person`.
    """
    async with store.transaction() as tx:
        _known(await tx.people.lock(id), id)
        await tx.people.remove(id)
        note(tx, "person.remove", targets=[("person", id)], personal=because(reason), at=at)
        await tx.tell("paygrade_key", id)
    log.info("person_removed", person=id, by=acting().actor.id)


def _refuse_provided(id: str, issuer: str | None) -> None:
    if issuer is not None:
        raise Refused("person_of_provider", f"`{id}` logs in with {issuer}, which says their role by their groups, and "
                      "keeps their password; change it there")  # fmt: skip


def _address(text: str) -> str:
    email = text.strip().lower()
    name, _, host = email.rpartition("@")
    if not name or not host or not email.isprintable() or " " in email:
        mistake = Mistake("/email", "is no e-mail address")
        raise Refused("invalid_body", f"the body is invalid: {mistake.pointer}: {mistake.message}", (mistake,))
    return email


def _step(person: "SavedPerson", code: str | None, at: datetime) -> int | None:
    if person.totp_secret is None:
        return None
    if not code:
        raise Refused("code_required", "send the code of your authenticator app as `code`")
    step = step_of(code, person.totp_secret, after=person.totp_step, at=at)
    if step is None:
        raise _wrong()
    return step


def _refuse_too_soon(person: "SavedPerson", at: datetime) -> None:
    if person.retry_at is not None and at < person.retry_at:
        raise TooSoon(-(-(person.retry_at - at) // timedelta(seconds=1)))


def _next_attempt(failures: int, at: datetime) -> datetime | None:
    if failures < FREE_FAILURES:
        return None
    doublings: int = min(failures - FREE_FAILURES, 10)
    return at + min(WAIT * (1 << doublings), WAIT_MAX)


def _wrong() -> Refused:
    return Refused("log_in_refused", "the e-mail address, the password or the code is wrong")


def _refuse_more(role: str, granted: frozenset[Scope]) -> None:
    lacking = sorted(ROLES.get(role, frozenset()) - granted)
    if lacking:
        listed = ", ".join(f"`{scope}`" for scope in lacking)
        raise Refused("insufficient_scope", f"you lack {listed}, so you can't give or reset the role `{role}`")


def _known(person: "SavedPerson | None", id: str) -> "SavedPerson":
    if person is None:
        raise Refused("unknown_person", f"there is nobody with the id `{id}`; `paygrade people list` shows everybody")
    return person


def view(person: "SavedPerson") -> PersonView:
    """What of a person is shown."""
    names = ("id", "name", "role", "created_at", "created_by", "seen_at", "issuer", "must_change")
    email = person.email if person.issuer is None else person.claimed_email or ""
    its = {name: getattr(person, name) for name in names}
    return PersonView(email=email, totp=person.totp_secret is not None, **its)


def _with_password(person: "SavedPerson", password: str) -> PersonWithPassword:
    its, secret = view(person), person.totp_secret
    return PersonWithPassword(
        password=password,
        totp_address=totp_address(secret, person.email) if secret is not None else None,
        **{name: getattr(its, name) for name in its.__struct_fields__},
    )
