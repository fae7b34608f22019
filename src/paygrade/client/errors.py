"""What the SDK raises."""


class PaygradeError(Exception):
    """The server refuses what was asked of it, or the SDK is used in a way that cannot work. `code` names the problem
    (docs/http.md); `detail` says what to do."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
