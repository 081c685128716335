"""What no error may tell."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jtv_cli.errors import JtvError

KEY = "jina_0f8e-the-key-of-these-tests"
PASSWORD = "hunter2"
TEXTS = ["Quetzalcoatl sips hibiscus tea", "zebra", "Größe 数学 naïve", "ab"]


def assert_discreet(error: JtvError) -> None:
    """Hold that an error is one line with a hint, and gives no secret away, even with --debug."""
    told = "".join(traceback.format_exception(error)) + repr(error)
    assert not [secret for secret in (KEY, PASSWORD, *TEXTS[:3]) if secret in told]
    assert "\n" not in str(error)
    assert len(str(error)) < 600
    assert error.hint
