"""Every story holds, on the pure core and through a whole server alike."""

from pathlib import Path

import pytest

from stories.core_runner import play_on_core
from stories.http_runner import play_through_http
from stories.language import Story, load

HERE = Path(__file__).parent
STORIES = [story for path in sorted(HERE.glob("*.story")) for story in load(path)]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.title)
def test_on_the_core(story: Story) -> None:
    play_on_core(story)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.title)
def test_through_http(story: Story, database_url: str) -> None:
    play_through_http(story, database_url)
