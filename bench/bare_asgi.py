"""The least a Python HTTP server does: uvicorn with uvloop and httptools, an answer as long as a decision, no decision.

Not a benchmark itself: `bench_http.py` measures beside it. Run as a program; the argument is the port.
"""

import json
import sys
from typing import Any

import uvicorn

ANSWER = json.dumps(
    {
        "allowed": True, "reason": "plan", "account": "acct_00000000", "feature": "calls", "quantity": 1,
        "limit": 1000000000, "used": 1, "reserved": 0, "remaining": 999999999, "unlimited": False,
        "resets_at": "2026-12-01T00:00:00Z", "value": None, "plan": "free@1",
        "sources": [{"kind": "plan", "reason": "plan", "plan": "free@1", "units": 1000000000}],
        "as_of": "2026-11-29T12:00:00.123456Z", "version": "1.1", "stale": False, "limited_by": None,
        "message": "acct_00000000 can use calls: free@1 includes it", "exact": False,
    },
    separators=(",", ":"),
).encode()  # fmt: skip
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]


# Any: ASGI's own types are open mappings.
async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    message = await receive()
    while message.get("more_body"):
        message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_config=None,
                proxy_headers=False, server_header=False, lifespan="off")  # fmt: skip
