"""Chromium under a test's own hand, by the Playwright that `make browser` installs in an environment of its own.

That environment is looked into rather than copied: it was made for the same Python. Where it or Chromium is missing,
the tests that ask say so and are passed over.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

sys.path.extend(str(found) for found in Path(".venv-browser/lib").glob("python*/site-packages"))
playwright: Any = pytest.importorskip("playwright.sync_api", reason="`make browser` installs Playwright first")
"""Any: it has types, but not where mypy looks."""
EXECUTABLE = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needed = pytest.mark.skipif(EXECUTABLE is None, reason="there is no Chromium here: apt-get install chromium")


@contextmanager
def launched() -> Iterator[Any]:
    """A browser. Any: Playwright's."""
    with playwright.sync_playwright() as driver:
        its = driver.chromium.launch(executable_path=EXECUTABLE, args=["--no-sandbox"])
        yield its
        its.close()
