"""The service with one more address, which only parses: `python -m tests.bench.server PORT DATABASE_URL`."""

import sys
from datetime import UTC, datetime

import uvicorn
from starlette.requests import Request
from starlette.responses import Response

from app.ingest.native import read_timeline
from app.main import create_app
from app.settings import Settings
from app.timeline.moments import latest_acceptable


async def parse_only(request: Request) -> Response:
    """Read a timeline as any address does and forget it."""
    read_timeline(await request.body(), latest_acceptable(datetime.now(UTC)))
    return Response(b'{"parsed": true}', media_type="application/json")


def main() -> None:
    """Serve on loopback until terminated."""
    port, url = int(sys.argv[1]), sys.argv[2]
    app = create_app(Settings(database_url=url, port=port))
    app.add_route("/bench/parse", parse_only, methods=["POST"])
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
