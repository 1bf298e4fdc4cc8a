"""The application, put together: the one place that knows all parts."""

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from typing import TypedDict

import anyio.to_thread
from fastapi import APIRouter, Depends, FastAPI, Response

from app import __version__
from app.api import about, analyses, calculators, docs, home, patients, protocols, revisions, studies, timelines
from app.datasets import routes as datasets
from app.fhir import operation_outcome, routes_about, routes_read, routes_write
from app.hl7v2 import routes as hl7v2
from app.http import problems
from app.http.dependencies import only_known_parameters
from app.http.middleware import AccessLog, CrossOrigin, RequestGuard
from app.http.responses import Cursors
from app.http.state import Answers, AppState, ComputeLimiter, Readiness, Scrubber, warm
from app.settings import Settings
from app.store.engine import Database
from app.submission.feeds import objection_to_secret

THREADS = 8
"""Requests served at a time, and connections to the database: a request never waits for a connection."""

DESCRIPTION = """
Did the treatment of inflammatory myopathy work, how soon, for how long, and how safely?

**A study** has a **protocol** (the declared definitions) and patients, each with one **timeline**. Everything that is
accepted makes a **revision**; an analysis reads exactly one, so that every answer can be given again as it was.

- To send the same thing twice changes nothing. A correction supersedes; the order of arrival does not matter.
- Refusals are problem documents (RFC 9457). `errors` names every fault at once by JSON pointer and code, and never
  repeats a value that was sent. `GET /problems` lists all kinds and codes.
- Answers carry a strong ETag for `If-None-Match`, and `Cache-Control: no-store`: what is about patients must not stay
  in a browser's cache. A timeline is replaced with `If-Match`.
- Lists come in pages: follow `next` until it is null. Its address begins at the root of the host.
- Query parameters that an operation does not have are refused, not ignored.
- HEAD is answered wherever GET is.
"""
TAGS = [
    {"name": "studies", "description": "A study is a name, a protocol and patients; nothing is shared between two."},
    {"name": "protocols", "description": "The declared definitions, and the presets that ship with the service."},
    {
        "name": "patients",
        "description": "One timeline a patient: laboratory results, scores, infusions, adverse events.",
    },
    {"name": "fhir", "description": "The same as resources of FHIR R4; refusals are OperationOutcomes."},
    {"name": "analyses", "description": "The questions. What is undefined is null beside a reason, never an error."},
    {"name": "planning", "description": "How many patients or events a study needs, from assumed figures."},
    {"name": "revisions", "description": "The ledger of accepted submissions."},
    {"name": "service", "description": "The service about itself."},
]

ON_EVERY_OPERATION = (Depends(only_known_parameters),)


class LifespanState(TypedDict):
    """What a request finds in `request.state`."""

    app_state: AppState


def _lifespan(settings: Settings) -> Callable[[FastAPI], AbstractAsyncContextManager[LifespanState]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[LifespanState]:
        database = Database(settings.database_url, pool_size=THREADS)
        scrubber = Scrubber(database)
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        await anyio.to_thread.run_sync(_check_secret, database, settings.secret)
        warming = threading.Thread(target=warm, name="warm", daemon=True)
        warming.start()
        yield {
            "app_state": AppState(
                settings,
                database,
                Answers(settings.cache_answers, settings.cache_bytes),
                Cursors(settings.cursor_key),
                scrubber,
                Readiness(database),
                ComputeLimiter(),
            )
        }
        # A thread that still imports when the interpreter ends may end it with a crash.
        await anyio.to_thread.run_sync(warming.join)
        await anyio.to_thread.run_sync(scrubber.stop)
        database.dispose()

    return lifespan


def _check_secret(database: Database, secret: str | None) -> None:
    """Refuse to start beside pseudonyms that cannot be made again."""
    if not database.ready():
        return  # tables of another version are told by /readyz
    with database.reading() as connection:
        objection = objection_to_secret(connection, secret)
    if objection is not None:
        database.dispose()
        raise RuntimeError(objection)


@cache
def _rooms() -> APIRouter:
    """What the rooms serve. FastAPI reads the signatures of all operations when it is asked for the first time, which
    takes a tenth of a second: applications of one process share what it found.
    """
    router = APIRouter(dependencies=ON_EVERY_OPERATION, default_response_class=Response)
    router.include_router(about.health)
    for room in (
        home,
        studies,
        protocols,
        patients,
        timelines,
        hl7v2,
        analyses,
        datasets,
        calculators,
        revisions,
        routes_read,
        routes_about,
        routes_write,
    ):
        router.include_router(room.router)
    return router


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application with the settings of the environment, or with those given."""
    settings = settings or Settings()
    app = FastAPI(
        title="MyoResponse",
        summary="Treatment response in inflammatory myopathy, from patient timelines.",
        description=DESCRIPTION.strip(),
        version=__version__,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        openapi_tags=TAGS,
        servers=[{"url": settings.root_path or "/"}],
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=ON_EVERY_OPERATION,
        default_response_class=Response,
        lifespan=_lifespan(settings),
        routes=_rooms().routes,
    )
    about.install(app)
    docs.install(app)
    problems.install(app, below={"/fhir/": operation_outcome.refusal})
    app.add_middleware(RequestGuard, settings=settings)
    app.add_middleware(CrossOrigin, settings=settings)
    app.add_middleware(AccessLog, root_path=settings.root_path)
    return app
