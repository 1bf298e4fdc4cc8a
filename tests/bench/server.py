"""The service with one more address, which only parses: `python -m tests.bench.server PORT DATABASE_URL`."""

import sys

import uvicorn
from fastapi import Response

from app.http import authentication
from app.http.dependencies import JsonBody, Now, latest
from app.main import create_app
from app.readers.json_timelines import read_timeline
from app.settings import Settings


def parse_only(body: JsonBody, now: Now) -> Response:
    """Go the way of every address that takes a timeline, read it, and forget it."""
    read_timeline(body, latest(now))
    return Response(b'{"parsed": true}', media_type="application/json")


def main() -> None:
    """Serve on loopback until terminated."""
    port, url = int(sys.argv[1]), sys.argv[2]
    app = create_app(Settings(database_url=url, port=port))
    app.post("/bench/parse")(parse_only)
    authentication.KNOWN |= {"POST /bench/parse"}  # an operation that is not listed is refused to everybody
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False, proxy_headers=False)


if __name__ == "__main__":
    main()
