"""The application: its routes, its middleware and the state that its requests share."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, TypedDict

import anyio.to_thread
from fastapi import APIRouter, FastAPI, Response
from starlette.routing import BaseRoute
from starlette.types import Scope

from app import __version__
from app.access.authenticator import Authenticator
from app.access.changes_seen import ChangesSeen
from app.access.computing import Computing, workers_of
from app.access.keys import ApiKeys
from app.access.live_studies import LiveStudies
from app.access.rates import Rates
from app.access.tokens import Tokens
from app.api import about, docs, home, session
from app.errors import ServiceError
from app.http import problems
from app.http.audit import Audit
from app.http.authentication import Authentication
from app.http.compression import Compression
from app.http.metrics import Metrics
from app.http.middleware import AccessLog, CrossOrigin, RequestGuard
from app.http.representations import Asked, Representation, Representations
from app.http.responses import Cursors
from app.http.rooms import Room
from app.http.routing import ON_EVERY_OPERATION
from app.http.state import Answers, AppState, ErasureWatch, Readiness, Scrubber
from app.settings import Settings
from app.store.audit_trail import AuditTrail
from app.store.changes import DatabaseChanges
from app.store.engine import Database
from app.store.ledger_keys import LedgerKeys
from app.store.opening import open_ledger
from app.submission.dead_letters import letters_of

if TYPE_CHECKING:
    from app.analyses import Options
    from app.pages.site import Site
    from app.protocol.model import Protocol

THREADS = 8
"""Number of requests at a time. Each has a connection; so have the test of readiness, the work that runs later, and
the rates that several processes share.
"""

DESCRIPTION = """
Did the treatment of inflammatory myopathy work, how soon, for how long, and how safely?

**A study** has a **protocol** (the declared definitions) and patients. Each patient has one **timeline**. Each accepted
submission makes a **revision**. An analysis reads exactly one revision, so that every answer can be computed again.

- To send the same data twice changes nothing. A correction replaces what it corrects; the order of arrival does not
  matter.
- Refusals are problem documents (RFC 9457). `errors` lists all faults at once by JSON pointer and code, and never
  repeats a value that was sent. `GET /problems` lists all kinds and codes.
- Answers have a strong ETag for `If-None-Match`, and `Cache-Control: no-store`, because patients' data must not stay in
  a browser's cache. To replace a timeline, send `If-Match`.
- Lists come in pages: follow `next` until it is null. Its address begins at the root of the host.
- Query parameters that an operation does not have are refused, not ignored.
- Every address that supports GET supports HEAD.
"""
TAGS = [
    {"name": "studies", "description": "A study is a name, a protocol and patients. Studies share nothing."},
    {"name": "protocols", "description": "The declared definitions, and the presets that ship with the service."},
    {
        "name": "patients",
        "description": "One timeline for each patient: laboratory results, scores, infusions, adverse events.",
    },
    {"name": "intake", "description": "What arrives, what of it is set aside, and what a study could declare."},
    {"name": "fhir", "description": "The same data as resources of FHIR R4. Refusals are OperationOutcomes."},
    {"name": "analyses", "description": "The questions. An undefined value is null with a reason, never an error."},
    {"name": "planning", "description": "How many patients or events a study needs, from assumed figures."},
    {"name": "revisions", "description": "The ledger of accepted submissions."},
    {"name": "service", "description": "Information about the service."},
]


class LifespanState(TypedDict):
    """The content of `request.state`."""

    app_state: AppState


def _lifespan(settings: Settings) -> Callable[[FastAPI], AbstractAsyncContextManager[LifespanState]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[LifespanState]:
        keys = LedgerKeys(settings.secret_path)
        database = Database(settings.database_url, pool_size=THREADS + 3 + settings.shares_rates, keys=keys)
        if settings.segments_path is not None:
            from app.store.segments import Segments

            database.segments = Segments(settings.segments_path, keys)
        scrubber, trail = Scrubber(database), AuditTrail(database)
        answers = Answers(settings.cache_answers, settings.cache_bytes)
        logging.getLogger("uvicorn.access").disabled = True  # it would write addresses, with identifiers of patients
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        await anyio.to_thread.run_sync(_check_secrets, database, settings)
        computing = Computing(workers_of(settings, database))
        computing.start()
        loop = asyncio.get_running_loop()
        watch = ErasureWatch(
            database, answers, lambda study: asyncio.run_coroutine_threadsafe(computing.workers.forget(study), loop)
        )
        rates, changes = Rates.of(settings, database), ChangesSeen(DatabaseChanges(database))
        app.state.live = live = LiveStudies(settings.live_connections, settings.live_connections_of_client)
        yield {
            "app_state": AppState(
                settings,
                database,
                answers,
                Cursors(lambda: settings.cursor_key.encode() or keys.secret.key("cursor")),
                scrubber,
                Readiness(database, settings.heads_path, letters_of(settings, database)),
                computing,
                Authenticator(ApiKeys(database), Tokens.of(settings)),
                trail,
                rates,
                _r_script,
                changes,
            )
        }
        await live.close()
        await anyio.to_thread.run_sync(watch.stop)
        await computing.close()
        await changes.close()
        if rates is not None:
            await anyio.to_thread.run_sync(rates.stop)
        await anyio.to_thread.run_sync(scrubber.stop)
        await anyio.to_thread.run_sync(trail.close)
        database.dispose()

    return lifespan


def _check_secrets(database: Database, settings: Settings) -> None:
    """Raise `RuntimeError` if the ledger or the stored pseudonyms were made with another secret."""
    if not database.ready():
        return  # /readyz reports tables of another version
    objection = open_ledger(database, settings.heads_path)
    if objection is None:
        with database.reading() as connection:
            from app.submission.feeds import objection_to_secret

            objection = objection_to_secret(connection, settings.secret)
    if objection is not None:
        database.dispose()
        raise RuntimeError(objection)
    with suppress(OSError):  # /readyz reports a directory that cannot be used
        letters = letters_of(settings, database)
        if letters.directory.is_dir():
            from app.hl7v2.mllp_command import tidy

            tidy(letters, database, settings.secret)


def _routes_of(*routers: APIRouter) -> list[BaseRoute]:
    return [route for router in routers for route in router.routes]


@cache
def _below_v1() -> list[BaseRoute]:
    """The routes of studies and questions, declared once for all applications of a process."""
    from app.api import (
        analyses,
        audit,
        calculators,
        decisions,
        intake,
        live,
        patients,
        protocols,
        revisions,
        studies,
        tables,
        timelines,
    )
    from app.datasets import routes as datasets
    from app.hl7v2 import routes as hl7v2
    from app.pages import report_routes
    from app.pages.charts import routes as charts

    rooms = (
        studies, protocols, patients, timelines, tables, intake, decisions, hl7v2, analyses, datasets, charts,
        calculators, revisions, live, audit, report_routes,
    )  # fmt: skip
    return _routes_of(*(room.router for room in rooms))


@cache
def _below_fhir() -> list[BaseRoute]:
    """The same of the facade of FHIR."""
    from app.fhir import routes_about, routes_read, routes_unsupported, routes_validate, routes_write

    supported = (routes_read, routes_about, routes_write, routes_validate)
    return _routes_of(routes_unsupported.first, *(room.router for room in supported), routes_unsupported.last)


@cache
def _below_pages() -> list[BaseRoute]:
    """The same of the forms of the pages."""
    from app.pages import intake_forms, routes, take_back, try_protocol

    return _routes_of(*(room.router for room in (routes, intake_forms, take_back, try_protocol)))


@cache
def _documentation() -> list[BaseRoute]:
    """The same of the documentation."""
    from app.pages import documentation

    return _routes_of(documentation.router)


def _r_script(name: str, study: str, revision: int, protocol: "Protocol", options: "Options") -> bytes:
    from app.datasets.r_scripts import r_script

    return r_script(name, study, revision, protocol, options)


async def _page(asked: Asked) -> Response:
    """The answer as a page. The site is loaded, in a thread, when the first page is asked for."""
    return await (await anyio.to_thread.run_sync(_site)).show(asked)


@cache
def _site() -> "Site":
    from app.pages.site import Site

    return Site()


def _outcome(scope: Scope, error: ServiceError, headers: Mapping[str, str]) -> Response:
    """A refusal as an OperationOutcome of FHIR."""
    from app.fhir.operation_outcome import refusal

    return refusal(scope, error, headers)


def _refused_form(scope: Scope, error: ServiceError, headers: Mapping[str, str]) -> Response:
    """A refusal as a page with the form."""
    from app.pages.site import refused_form

    return refused_form(scope, error, headers)


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
        telemetry={"tracing": False, "metrics": False, "logs": False},  # it would send addresses, with identifiers
        dependencies=ON_EVERY_OPERATION,
        default_response_class=Response,
        lifespan=_lifespan(settings),
        routes=[
            *_routes_of(about.health, home.router, session.router),
            Room("/v1/", _below_v1),
            Room("/fhir/", _below_fhir),
            Room("/pages/", _below_pages),
        ],
    )
    about.install(app)
    docs.install(app)
    app.router.routes.append(Room("/docs", _documentation))
    problems.install(app, below={"/fhir/": _outcome, "/pages/sign-": _refused_form, "/pages/studies": _refused_form})
    app.add_middleware(Authentication, settings=settings)
    app.add_middleware(RequestGuard, settings=settings)
    app.add_middleware(Audit)
    app.add_middleware(Representations, table={"html": Representation("text/html", _page)})
    app.add_middleware(Compression)
    app.add_middleware(CrossOrigin, settings=settings)
    app.state.metrics = Metrics()
    app.add_middleware(AccessLog, root_path=settings.root_path, metrics=app.state.metrics)
    return app
