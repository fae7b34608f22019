"""Every story holds, on the pure core and through a whole server alike; together they leave nothing out."""

from pathlib import Path

import pytest

from paygrade.values.states import STATUSES
from stories.language.core_runner import play_on_core
from stories.language.expectations import ALLOWED, DENIED
from stories.language.http_runner import play_through_http
from stories.language.language import Story, load
from stories.language.runner import Answer

HERE = Path(__file__).parent
STORIES = [story for path in sorted(HERE.rglob("*.story")) for story in load(path)]

NOT_YET_POSSIBLE = {
    "stale",  # only a client that lost its server says so
}


_answers: dict[str, tuple[Answer, ...]] = {}


def on_core(story: Story) -> tuple[Answer, ...]:
    """What the core answers: the same at every time, so it is played once."""
    if story.title not in _answers:
        _answers[story.title] = play_on_core(story)
    return _answers[story.title]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.title)
def test_story_holds_on_the_core(story: Story) -> None:
    on_core(story)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.title)
def test_story_holds_through_http_with_the_same_answers(story: Story, emptied_database: str) -> None:
    answers = play_through_http(story, emptied_database)
    assert [answer.said for answer in answers] == [answer.said for answer in on_core(story)]


def test_stories_show_every_state_a_subscription_can_be_in_and_every_reason_that_can_occur() -> None:
    decisions = [answer.decision for story in STORIES for answer in on_core(story) if answer.decision is not None]
    sources = [source for decision in decisions for source in decision.sources]
    assert {source.state for source in sources} >= {*STATUSES, "grace"}
    assert {decision.reason for decision in decisions} == {*ALLOWED, *DENIED} - NOT_YET_POSSIBLE


def test_stories_have_titles_of_their_own() -> None:
    titles = [story.title for story in STORIES]
    assert sorted(set(titles)) == sorted(titles)
