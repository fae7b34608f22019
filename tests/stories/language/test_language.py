"""A story that cannot be read says where, and what was expected instead."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from paygrade.billing.facts import Override
from paygrade.changes.request import ChangeRequest
from paygrade.server.operations.usage.requests import Commit, Consume, Reserve
from stories.language.change_outcomes import details
from stories.language.expectations import DecisionExpected, Detail, Outcome
from stories.language.language import StoryMistake, parse
from stories.language.operator_phrases import Statement, statements
from stories.language.owner_phrases import Change, PlanChangeAsked, plan_change_lines, wishes
from stories.language.product_phrases import Asking, Refusal, askings
from stories.language.provider_phrases import happenings, terms

DOCS = Path(__file__).parents[3] / "docs" / "stories.md"
HEAD = "story shown\n\n2026-03-01T00:00Z\n"
TAIL = "  acme editor: allowed plan\n"

MISTAKES = [
    ("", "file.story:1: the file is empty"),
    ("once upon a time\n", "file.story:1: expected `story <what it shows>`, found `once upon a time`"),
    ("story shown\n", "file.story:1: a story needs a moment"),
    (HEAD + "  provider: acme signs up with a good card\n", "file.story:1: a story that expects no decision"),
    ("story shown\ncatalog none\n2026-03-01T00:00Z\n" + TAIL, "file.story:2: there is no catalog `none`; there are"),
    (
        "story shown\ncatalog:\n  version: 1\n  features: { editor: { kind: lamp } }\n  plans: {}\n2026-03-01T00:00Z\n"
        + TAIL,
        "file.story:4: catalog: ",
    ),
    ("story shown\n" + TAIL, "file.story:2: expected a time before"),
    ("story shown\n+1d\n" + TAIL, "file.story:2: `+1d` needs a moment before it"),
    ("story shown\nmonday\n" + TAIL, "file.story:2: expected a time such as"),
    ("story shown\n2026-03-01T00:00\n" + TAIL, "file.story:2: `2026-03-01T00:00` has no offset"),
    (HEAD + TAIL + "2026-02-01T00:00Z\n", "file.story:5: time only goes forward"),
    (HEAD + TAIL + "+1 day\n", "file.story:5: `1 day` is not a duration"),
    (HEAD + "  provider: acme subscibes to pro\n", "the nearest phrases are `<customer> subscribes to <items>"),
    (HEAD + "  provider: acme subscribes to pro, for free\n", "file.story:4: `for free` is nothing the customer who"),
    (HEAD + "  provider: acme cancels as of 20-3-2026\n", "file.story:4: `20-3-2026` is not an instant"),
    (HEAD + "  operator: override acme seats limit five\n", "`override <account> <feature> limit <units>["),
    (HEAD + "  weather: sunny\n", "there is no weather `sunny`; the words are calm, doubled"),
    (HEAD + "  acme editor\n", "file.story:4: `acme editor` is neither something that happens nor a decision"),
    (HEAD + "  acme editor: maybe plan\n", "a decision is `allowed` or `denied`, not `maybe`"),
    (HEAD + "  acme editor: allowed\n", "the reason of what is allowed is one of plan, add_on"),
    (HEAD + "  acme editor: denied plan\n", "the reason of what is denied is one of not_in_plan"),
    (HEAD + "  product: acme consumes 5 api_calls\n", "file.story:4: say what is answered: `allowed …`, `denied …`"),
    (HEAD + "  product: acme eats 5 api_calls: allowed plan\n", "is nothing the product says; the nearest phrases are"),
    (HEAD + "  product: acme consumes 5 api_calls: fine\n", "a decision is `allowed` or `denied`, not `fine`"),
    (
        HEAD + "  product: acme consumes 1 api_calls, 9 at once: allowed plan\n",
        "of 9 at once, say how many are allowed",
    ),
    (
        HEAD + "  operator: block acme for fraud: refused blocked\n",
        "only what is said of units and members can be refused",
    ),
    (HEAD + "  owner: acme changes to pro\n", "file.story:4: an errand ends `refused …` or quoted, asked, pending"),
    (
        HEAD + "  owner: acme wants pro: applied\n",
        "`acme wants pro` is nothing the owner says; the nearest phrases are",
    ),
    (HEAD + "  owner: acme changes to pro: applied sideways\n", "the direction is one of upgrade, downgrade, lateral"),
    (
        HEAD + "  owner: acme changes to pro, by mail: applied\n",
        "`by mail` is nothing the owner who changes plans says",
    ),
    (HEAD + "  owner: acme changes to pro: applied, owes 5\n", "`owes 5` is nothing the outcome of a plan change says"),
    (
        HEAD + "  acme editor: allowed plan, colour red\n",
        "`colour red` is no detail of a decision; the details are limit",
    ),
    (HEAD + "  acme editor: allowed plan, limit many\n", "`limit` of a decision: "),
]


@pytest.mark.parametrize(("text", "told"), MISTAKES, ids=[told for _, told in MISTAKES])
def test_mistake_says_where_and_what_was_expected(text: str, told: str) -> None:
    with pytest.raises(StoryMistake) as mistake:
        parse(text, Path("file.story"))
    assert told in str(mistake.value)


def test_moments_count_from_the_one_before() -> None:
    [story] = parse(HEAD + TAIL + "+1d\n+1h30m\n" + TAIL, Path("file.story"))
    start = datetime(2026, 3, 1, tzinfo=UTC)
    assert [moment.at - start for moment in story.moments] == [
        timedelta(0),
        timedelta(days=1),
        timedelta(days=1, hours=1, minutes=30),
    ]


def test_a_file_holds_several_stories_and_remarks() -> None:
    stories = parse(f"# two of them\n{HEAD}{TAIL}\n\n{HEAD}  # a remark\n{TAIL}", Path("file.story"))
    assert [story.line for story in stories] == [2, 8]


def test_a_decision_is_read_with_all_its_details() -> None:
    line = '  acme seats, projects 4 by ann: denied limit_reached, limit 3, value none, because "a, b", plan pro\n'
    [story] = parse(HEAD + line, Path("file.story"))
    details: dict[str, Detail] = {"limit": 3, "value": None, "because": "a, b", "plan": "pro"}
    outcome = Outcome(False, "limit_reached", details)
    expected = DecisionExpected("acme", ("seats", "projects"), 4, "ann", outcome)
    assert story.moments[0].lines[0].meaning == expected


def test_what_the_product_asks_is_read_with_its_answer() -> None:
    lines = [
        "  product: acme consumes 5 tokens by ann with model large again as req_1: allowed credit, used 5",
        "  product: acme commits 25 of chat_1 keeping the rest: refused reservation_expired",
        "  product: acme reserves 6 tokens, 2 at once: 1 allowed",
    ]
    [story] = parse(HEAD + "\n".join(lines), Path("file.story"))
    consume, commit, race = (line.meaning for line in story.moments[0].lines)
    request = Consume("acme", "tokens", "req_1", 5, "ann", {"model": "large"})
    assert consume == Asking(request, again=True, expected=Outcome(True, "credit", {"used": 5}))
    assert isinstance(commit, Asking)
    assert commit.expected == Refusal("reservation_expired")
    assert commit.requests(5) == [Commit("acme", "chat_1", 25, keep=True, id="line_5_0")]
    assert isinstance(race, Asking)
    assert race.requests(6) == [Reserve("acme", "tokens", f"line_6_{number}", 6) for number in range(2)]


def test_an_errand_is_read_with_its_wishes() -> None:
    line = "  owner: acme would change to scale, 5 seats, no audit, paid yearly, at 2026-03-05T00:00Z: quoted upgrade\n"
    [story] = parse(HEAD + line, Path("file.story"))
    errand = story.moments[0].lines[0].meaning
    assert isinstance(errand, PlanChangeAsked)
    wanted = ChangeRequest(
        plan="scale",
        quantities={"seats": 5},
        add_ons={"audit": 0},
        interval="yearly",
        date=datetime(2026, 3, 5, tzinfo=UTC),
    )
    assert (errand.account, errand.what) == ("acme", Change(wanted, only_quoted=True))
    assert (errand.expected.state, errand.expected.direction) == ("quoted", "upgrade")


def test_a_statement_is_read_with_its_end_and_reason() -> None:
    line = '  operator: override acme api_calls limit 10 until 2026-03-05T00:00Z because "abuse"\n'
    [story] = parse(HEAD + line + TAIL, Path("file.story"))
    override = Override("api_calls", "abuse", limit=10, expires_at=datetime(2026, 3, 5, tzinfo=UTC))
    assert story.moments[0].lines[0].meaning == Statement("acme", "override:api_calls", override)


def test_the_manual_lists_every_phrase() -> None:
    listed = DOCS.read_text().splitlines()
    spoken = [*happenings.shown(), *terms.shown(), *statements.shown(), *askings.shown(), *plan_change_lines.shown()]
    phrases = [*spoken, *wishes.shown(), *details.shown()]
    assert [phrase for phrase in phrases if phrase not in listed] == []


def test_the_story_of_the_manual_can_be_read() -> None:
    example = DOCS.read_text().split("```\n")[1]
    [story] = parse(example, DOCS)
    assert story.title == "an upgrade in mid-period keeps the day on which calls come back"
