"""What an operator says: each phrase, and the statement it makes.

The core runner takes a statement as a fact, the HTTP runner sends it to the API. What is said of units, which are
counted and no facts, is asked like what the product asks.
"""

from datetime import UTC, datetime

from msgspec import Struct

from paygrade.billing.facts import (
    Block,
    Body,
    Item,
    ManualSubscription,
    Member,
    Override,
    Phase,
    Pin,
    Profile,
    Subscription,
)
from paygrade.catalog.grandfathering import FOLLOW, Grandfathering
from paygrade.changes.version_migration import VersionMigration
from paygrade.usage.balances import Grant, GrantKind
from paygrade.values.states import STATUSES
from stories.language.phrases import ItemsSaid, Phrases
from stories.language.product_phrases import Asking, Count, Give, Void


class Statement(Struct, frozen=True):
    """An operator's word on one subject of an account. `version` orders statements of manual billing; `refused` is the
    code it must be refused with.

    The creation date of a Profile is whoever records it to set: NOT_YET stands for it.
    """

    account: str
    subject: str
    body: Body
    version: int | None = None
    refused: str = ""


class Choice(Struct, frozen=True):
    """Who has a seat: these members and nobody else."""

    account: str
    members: tuple[str, ...]
    refused: str = ""


NOT_YET = datetime.max.replace(tzinfo=UTC)


class Edition(Struct, frozen=True):
    """A catalog that differs from the one in force in one line: how many units of `feature` come with `plan`.

    `existing` is what becomes of those who have the plan.
    """

    plan: str
    feature: str
    units: int
    existing: Grandfathering = FOLLOW


class Migrating(Struct, frozen=True):
    """Everybody there is is moved to another version of a plan. `back`: whoever was moved last is moved back."""

    move: VersionMigration
    back: bool = False


statements: Phrases[Statement | Choice | Edition | Migrating | Asking] = Phrases("operator")


@statements.say("override <account> <feature> limit <units>[ from <at>][ until <until>][ because <text>]")
def limit(
    account: str, feature: str, units: int, at: datetime | None = None, until: datetime | None = None, text: str = ""
) -> Statement:
    return _override(account, Override(feature, text, limit=units, starts_at=at, expires_at=until))


@statements.say("override <account> <feature> add <units>[ until <until>][ because <text>]")
def add(account: str, feature: str, units: int, until: datetime | None = None, text: str = "") -> Statement:
    return _override(account, Override(feature, text, add=units, expires_at=until))


@statements.say("override <account> <feature> spend cap <units>[ until <until>][ because <text>]")
def spend_cap(account: str, feature: str, units: int, until: datetime | None = None, text: str = "") -> Statement:
    return _override(account, Override(feature, text, spend_cap=units, expires_at=until))


@statements.say("override <account> <feature> unlimited[ until <until>][ because <text>]")
def unlimited(account: str, feature: str, until: datetime | None = None, text: str = "") -> Statement:
    return _override(account, Override(feature, text, unlimited=True, expires_at=until))


@statements.say("override <account> <feature> is <value>[ until <until>][ because <text>]")
def value(
    account: str, feature: str, value: bool | int | str, until: datetime | None = None, text: str = ""
) -> Statement:
    return _override(account, Override(feature, text, value=value, expires_at=until))


@statements.say("remove override <account> <feature>")
def remove_override(account: str, feature: str) -> Statement:
    return _override(account, Override(feature))


def _override(account: str, override: Override) -> Statement:
    return Statement(account, f"override:{override.feature}", override)


@statements.say("block <account> for <key>[ until <until>][ because <text>]")
def block(account: str, key: str, until: datetime | None = None, text: str = "") -> Statement:
    return Statement(account, f"block:{key}", Block(key, text, expires_at=until))


@statements.say("lift block <account> for <key>")
def lift_block(account: str, key: str) -> Statement:
    return Statement(account, f"block:{key}", Block(key, lifted=True))


@statements.say("account <account>[ linked to <customers>][ in <zone>]")
def state_account(account: str, customers: tuple[str, ...] = (), zone: str | None = None) -> Statement:
    """State the account whole; customers are named with `@`, which stands for their ids at the provider."""
    links = {"stripe": customers} if customers else {}
    return Statement(account, "profile", Profile(NOT_YET, links=links, time_zone=zone))


@statements.say("delete account <account>")
def delete_account(account: str) -> Statement:
    return Statement(account, "profile", Profile(NOT_YET, deleted=True))


@statements.say("member <member> of <account> is <role>[ <seat:with a seat>]")
def member(account: str, member: str, role: str, seat: str = "") -> Statement:
    return Statement(account, f"member:{member}", Member(member, role, seat=bool(seat)))


@statements.say("<member> is invited to <account> as <role>[ <seat:with a seat>]")
def invite(account: str, member: str, role: str, seat: str = "") -> Statement:
    return Statement(account, f"member:{member}", Member(member, role, seat=bool(seat), invited=True))


@statements.say("seats of <account> go to <members>")
def choose_seats(account: str, members: tuple[str, ...]) -> Choice:
    return Choice(account, members)


@statements.say("member <member> of <account> leaves")
def member_leaves(account: str, member: str) -> Statement:
    return Statement(account, f"member:{member}", Member(member, None))


@statements.say(
    f"subscription <id> of <account> is <status:{'|'.join(STATUSES)}> on <items> since <at>"
    "[, trial until <until>][, ending <end>][, unpaid since <since>][, then <later> from <change>], version <version>"
)
def subscription(
    account: str,
    id: str,
    status: str,
    items: ItemsSaid,
    at: datetime,
    version: int,
    until: datetime | None = None,
    end: datetime | None = None,
    since: datetime | None = None,
    later: ItemsSaid | None = None,
    change: datetime | None = None,
) -> Statement:
    """Manual billing: the whole subscription, its plans and add-ons named by their keys in the catalog."""
    stated = Subscription(
        id=id,
        status=status,  # type: ignore[arg-type]  # the phrase admits the statuses alone
        items=_items(items),
        anchor_at=at,
        trial_ends_at=until,
        ends_at=end,
        unpaid_since=since,
        next=() if later is None or change is None else (Phase(change, _items(later)),),
    )
    return Statement(account, f"subscription:{id}", ManualSubscription(stated), version)


def _items(said: ItemsSaid) -> tuple[Item, ...]:
    return tuple(Item(plan, 1 if quantity is None else quantity, plan=plan) for plan, quantity in said)


@statements.say("catalog sells <plan> with <units> <feature>")
def sell_with(plan: str, units: int, feature: str) -> Edition:
    """Publish the catalog anew, with other units in one line of a plan."""
    return Edition(plan, feature, units)


@statements.say("catalog sells <plan> with <units> <feature>, existing accounts keep theirs")
def sell_and_keep(plan: str, units: int, feature: str) -> Edition:
    return Edition(plan, feature, units, Grandfathering(keep=True))


@statements.say("catalog sells <plan> with <units> <feature>, existing accounts follow at <at>")
def sell_and_follow(plan: str, units: int, feature: str, at: datetime) -> Edition:
    return Edition(plan, feature, units, Grandfathering(follow_at=at))


@statements.say("pin <account> to <plan> version <version>[ until <until>][ because <text>]")
def pin(account: str, plan: str, version: int, until: datetime | None = None, text: str = "") -> Statement:
    return _pin(account, Pin(plan, version, until, reason=text))


@statements.say("pin <account> to the newest <plan>")
def pin_to_newest(account: str, plan: str) -> Statement:
    return _pin(account, Pin(plan))


@statements.say("unpin <account> from <plan>")
def unpin(account: str, plan: str) -> Statement:
    return _pin(account, Pin(plan, withdrawn=True))


def _pin(account: str, pin: Pin) -> Statement:
    return Statement(account, f"version:{pin.key}", pin)


@statements.say("migrate <plan>[ version <number>] to version <version>[ at <at>]")
def migrate(plan: str, version: int, number: int | None = None, at: datetime | None = None) -> Migrating:
    return Migrating(VersionMigration(plan=plan, from_version=number, to_version=version, at=at))


@statements.say("migrate <plan> to the newest version[ at <at>]")
def migrate_to_newest(plan: str, at: datetime | None = None) -> Migrating:
    return Migrating(VersionMigration(plan=plan, at=at))


@statements.say("roll the migration of <plan> back")
def roll_back(plan: str) -> Migrating:
    return Migrating(VersionMigration(plan=plan), back=True)


@statements.say(
    "grant <account> <units> <feature> as <id>[, <bought:bought>][ from <at>][ until <until>][ priority <priority>]"
)
def grant(
    account: str,
    units: int,
    feature: str,
    id: str,
    at: datetime = NOT_YET,
    until: datetime | None = None,
    priority: int = 50,
    bought: str = "",
) -> Asking:
    """Grant units by themselves; they begin at once unless told otherwise."""
    kind: GrantKind = "purchase" if bought else "promotion"
    return Asking(Give(account, feature, Grant(id, kind, units, at, until, priority)))


@statements.say("void <id> of <account> <feature>")
def void(id: str, account: str, feature: str) -> Asking:
    return Asking(Void(account, feature, id))


@statements.say("<account> uses <units> <feature>[ as <id>]")
def count(account: str, units: int, feature: str, id: str = "") -> Asking:
    """State what is used in the present window."""
    return Asking(Count(account, feature, units, id))
