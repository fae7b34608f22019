"""The audit chain: who did what, in records of which each holds the hash of the one before.

Laws: any edit, removal, insertion or reordering of records breaks the chain; what is personal is in the chain by a
salted commitment alone, so it can be erased and the chain still holds; an erasure is itself a record, and without one
nothing personal may be missing. Whoever can write to the database can also write the whole chain anew: a head that is
kept elsewhere finds that.

A chain is that of an account, or of the environment (account ``""``): what is done to no account. The content that is
hashed is JSON with sorted names and without white space, in UTF-8, as RFC 8785 has it for texts and whole numbers.
"""

import hashlib
import json
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

VERSION = 1
ENVIRONMENT = ""
FIRST = "0" * 64
"""What the first record has in place of the hash of one before."""
SEALED = ("actor", "address", "personal")
"""The fields that are in the chain by a commitment."""
ERASE = "account.erase"
"""The action after which what is erasable of the records before it may be missing."""


class AuditEntry(Struct, frozen=True, kw_only=True):
    """What is to be written down: a record that has no place in its chain yet.

    Any: JSON. `action` is `noun.verb`; `targets` is what it was done to, `changes` what it changed, both without
    anything personal; `personal` is the rest. `actor` is `{kind, id, name}`; `address` and `request` say where it came
    from. `erasable` names the sealed fields that are about people of the account. `salts` has one for each
    sealed field.
    """

    account: str
    version: int = VERSION
    action: str
    occurred_at: str
    request: str | None
    targets: list[dict[str, str]]
    changes: dict[str, Any]
    actor: dict[str, str] | None
    address: str | None
    personal: dict[str, Any] | None
    erasable: list[str]
    salts: dict[str, str]


class AuditRecord(AuditEntry, frozen=True, kw_only=True):
    """One record of a chain. A sealed field without its salt was erased: its commitment is what is left of it."""

    number: int
    commitments: dict[str, str]
    previous: str
    hash: str


class AuditHead(Struct, frozen=True):
    """The last record of a chain, by its number and hash. `account` empty: the chain of the environment."""

    account: str
    number: int
    hash: str


class AuditFilter(Struct, frozen=True):
    """Which records. None: whichever. `action`: this one, or all of this noun; `actor`: of this id. `from_at` is
    inclusive, `until` is not."""

    action: str | None = None
    actor: str | None = None
    from_at: datetime | None = None
    until: datetime | None = None


class AuditChain(Struct, frozen=True):
    """Records of one chain that follow one another, and its head at that moment. None: the head is missing."""

    account: str
    head: AuditHead | None
    records: tuple[AuditRecord, ...]


class AuditFault(Struct, frozen=True):
    """The first thing that is wrong with a chain, and with which record."""

    account: str
    number: int
    detail: str


def canonical(value: object) -> bytes:
    """The one way to write JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def commitment(salt: str, value: object) -> str:
    return hashlib.sha256(salt.encode() + canonical(value)).hexdigest()


def chained(entry: AuditEntry, number: int, previous: str) -> AuditRecord:
    """The entry as the record that follows `previous`."""
    fields = msgspec.to_builtins(entry)
    commitments = {name: commitment(entry.salts[name], fields[name]) for name in SEALED}
    record = AuditRecord(**fields, number=number, commitments=commitments, previous=previous, hash="")
    return msgspec.structs.replace(record, hash=content_hash(record))


def content_hash(record: AuditRecord) -> str:
    fields = msgspec.to_builtins(record)
    content = {name: value for name, value in fields.items() if name not in (*SEALED, "salts", "hash")}
    return hashlib.sha256(canonical(content)).hexdigest()


def public(record: AuditRecord) -> dict[str, Any]:
    """What others may be told of a record and keep as they like: nothing that an erasure takes back. Any: JSON."""
    told = {"account", "number", "action", "occurred_at", "request", "targets", "hash", "actor", "address"}
    fields = msgspec.to_builtins(record)
    return {name: value for name, value in fields.items() if name in told and name not in record.erasable}


class ChainCheck:
    """Goes through one chain from its first record on. `kept`: a head of it that was written down elsewhere."""

    def __init__(self, account: str, kept: AuditHead | None = None) -> None:
        self.account, self.number = account, 0
        self._hash, self._kept = FIRST, kept
        self._lacking: AuditFault | None = None
        """What is missing of a record for which no erasure accounts yet."""

    def take(self, record: AuditRecord) -> AuditFault | None:
        """Look at the next record; what is wrong with it."""
        expected = self.number + 1
        wrong = self._place(record, expected) or _content(record) or self._elsewhere(record)
        if wrong is not None:
            return AuditFault(self.account, min(expected, record.number), wrong)
        self.number, self._hash = record.number, record.hash
        if record.action == ERASE:
            self._lacking = None
        gone = [name for name in SEALED if name not in record.salts]
        if gone and self._lacking is None:
            detail = f"its {', '.join(f'`{name}`' for name in gone)} is gone, and no later record tells of an erasure"
            self._lacking = AuditFault(self.account, record.number, detail)
        return None

    def end(self, head: AuditHead | None) -> AuditFault | None:
        """There are no more records; what is wrong with the chain as a whole. `head`: as it is stored."""
        if head is None:
            return AuditFault(self.account, self.number, "the head of the chain is missing")
        if head.number > self.number:
            return AuditFault(
                self.account, self.number + 1, f"it is missing, and so is what followed: the head is {head.number}"
            )
        if (head.number, head.hash) != (self.number, self._hash):
            return AuditFault(self.account, self.number, f"the head of the chain is another one ({head.number})")
        if self._kept is not None and self._kept.number > self.number:
            detail = f"it is missing: the head that was kept elsewhere is {self._kept.number}"
            return AuditFault(self.account, self.number + 1, detail)
        return self._lacking

    def _place(self, record: AuditRecord, expected: int) -> str | None:
        if record.number != expected:
            return f"it is missing: record {record.number} follows record {self.number}"
        if record.previous != self._hash:
            return "it does not follow the record before it: its `previous` is another hash"
        return None

    def _elsewhere(self, record: AuditRecord) -> str | None:
        if self._kept is None or self._kept.number != record.number or self._kept.hash == record.hash:
            return None
        return "it is not the one whose hash was kept elsewhere: the chain was written anew"


def _content(record: AuditRecord) -> str | None:
    """What is wrong with a record by itself."""
    if record.hash != content_hash(record):
        return "it was edited: its hash is not that of its content"
    if not isinstance(record.salts, dict) or not set(record.salts) <= set(SEALED):
        return "it was edited: its `salts` are not those of a record"
    for name in SEALED:
        value, salt = getattr(record, name), record.salts.get(name)
        if name in record.salts:
            if not isinstance(salt, str) or commitment(salt, value) != record.commitments[name]:
                return f"its `{name}` was edited: it does not fit the commitment"
        elif value is not None or name not in record.erasable:
            return f"its `{name}` was edited: there is no salt for it"
    return None
