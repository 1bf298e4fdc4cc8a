"""The page at the root: what this service is, its studies, three first steps, and links to the reference."""

from collections.abc import Sequence
from html import escape
from string import Template

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from app import __version__
from app.access.callers import LOCAL, STRANGER, Scope
from app.api.docs import allowed_inline
from app.http.authentication import CallerOf, who_is_asked
from app.http.dependencies import State
from app.http.responses import address, reply
from app.store import studies
from app.store.snapshot import list_studies
from app.timeline.times import instant_text

router = APIRouter()
MOST_STUDIES = 50
_QUESTIONS = (
    ("response-rates", "Who responded?"),
    ("weekly-change", "From which week on?"),
    ("ck-normal-time", "For how long is CK normal?"),
    ("safety", "How safe?"),
)
"""The questions that the page links for each study, with their titles."""

_STYLE = """
:root {
  color-scheme: light dark;
  --page: #fbfaf7; --card: #fff; --line: #e4e0d8; --ink: #22262b; --soft: #5d646d; --accent: #0b6a63; --wash: #e9f3f1;
  --code: #f3f1ec;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171a; --card: #1c2024; --line: #2f353b; --ink: #e8e6e1; --soft: #a2a9b1; --accent: #6fd0c3;
    --wash: #1d302f; --code: #101316;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: clamp(1.5rem, 5vw, 4rem) clamp(1rem, 5vw, 2rem) 3rem; max-width: 60rem;
  background: var(--page); color: var(--ink); font: 1rem/1.6 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
header { display: flex; flex-wrap: wrap-reverse; gap: 1rem 3rem; align-items: center; justify-content: space-between; }
header div { flex: 1 1 24rem; }
header svg { flex: 0 1 15rem; width: 15rem; height: auto; }
h1 { margin: 0; font-size: clamp(2rem, 6vw, 2.75rem); line-height: 1.15; letter-spacing: -0.025em; }
h1 small { font-size: 0.875rem; font-weight: 400; letter-spacing: 0; color: var(--soft); vertical-align: middle; }
h2 { margin: 3rem 0 1rem; font-size: 1.25rem; letter-spacing: -0.01em; }
h3 { margin: 0; font-size: 1.0625rem; line-height: 1.4; }
p { margin: 0.5rem 0 0; }
.soft { color: var(--soft); }
.lead { font-size: 1.125rem; max-width: 38rem; }
a { color: var(--accent); text-underline-offset: 0.2em; text-decoration-thickness: 1px; }
a:hover { text-decoration-thickness: 2px; }
a:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 0.25rem; }
li { min-width: 0; }
ul, ol { list-style: none; margin: 0; padding: 0; display: grid; gap: 1rem; }
li.card { background: var(--card); border: 1px solid var(--line); border-radius: 0.75rem; padding: 1.25rem; }
.grid { grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); }
.tag {
  padding: 0.125rem 0.625rem; border-radius: 1rem; background: var(--wash); color: var(--accent);
  font-size: 0.8125rem; font-weight: 400;
}
.links { display: flex; flex-wrap: wrap; gap: 0.5rem; margin-top: 1rem; }
.links a {
  display: inline-block; padding: 0.375rem 0.875rem; border: 1px solid var(--line); border-radius: 2rem;
  font-size: 0.9375rem; text-decoration: none;
}
.links a:hover { border-color: var(--accent); }
.links a:first-child { background: var(--accent); border-color: var(--accent); color: var(--card); font-weight: 600; }
pre {
  margin: 0.5rem 0 0; padding: 0.875rem 1rem; white-space: pre-wrap; overflow-wrap: anywhere;
  background: var(--code); border: 1px solid var(--line);
  border-radius: 0.5rem; font: 0.8125rem/1.6 ui-monospace, "DejaVu Sans Mono", monospace;
}
footer { margin-top: 3rem; padding-top: 1.25rem; border-top: 1px solid var(--line); font-size: 0.875rem; }
"""
_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>MyoResponse</title>
<meta name="description" content="Treatment response in inflammatory myopathy, from patient timelines.">
<link rel="icon" href="data:,">
<style>$style</style>
</head>
<body>
<header>
<div>
<h1>MyoResponse <small>$version</small></h1>
<p class="lead">Did the treatment of inflammatory myopathy work, how soon, for how long, and how safely?</p>
<p class="soft">This service takes patient timelines, keeps every version of them, and answers what a trial reports.
Each figure names its definition, its method, who was left out and why, and the data that it was computed from.</p>
</div>
<svg viewBox="0 0 240 120" role="img" aria-label="A curve of creatine kinase that falls below its upper limit">
<path d="M4 116H236" stroke="var(--line)"/>
<path d="M4 84H236" stroke="var(--soft)" stroke-dasharray="3 5"/>
<path d="M8 24L36 14L62 22L88 48L116 66L144 92L176 99L206 95L232 101" fill="none" stroke="var(--accent)"
 stroke-width="2.5" stroke-linejoin="round" stroke-linecap="round"/>
<g fill="var(--page)" stroke="var(--accent)" stroke-width="2"><circle cx="8" cy="24" r="4"/>
<circle cx="36" cy="14" r="4"/><circle cx="62" cy="22" r="4"/><circle cx="88" cy="48" r="4"/>
<circle cx="116" cy="66" r="4"/></g>
<g fill="var(--accent)"><circle cx="144" cy="92" r="5"/><circle cx="176" cy="99" r="5"/><circle cx="206" cy="95" r="5"/>
<circle cx="232" cy="101" r="5"/></g>
</svg>
</header>
<main>
<section aria-labelledby="studies">
<h2 id="studies">Studies</h2>
$studies
</section>
<section aria-labelledby="steps">
<h2 id="steps">First steps</h2>
<ol>
$steps
</ol>
</section>
<section aria-labelledby="reference">
<h2 id="reference">Reference</h2>
<ul class="grid">
<li class="card"><h3><a href="$root/docs">Documentation</a></h3>
<p class="soft">Every operation, to read and to try.</p></li>
<li class="card"><h3><a href="$root/openapi.yaml">openapi.yaml</a></h3>
<p class="soft">The same for programs, which generate clients from it.</p></li>
<li class="card"><h3><a href="$root/v1/protocols">Protocols</a></h3>
<p class="soft">The definitions that come with the service.</p></li>
<li class="card"><h3><a href="$root/problems">Problems</a></h3>
<p class="soft">Every reason for which a request is refused.</p></li>
</ul>
</section>
</main>
<footer class="soft">$asked MyoResponse is no medical device and decides nothing about a patient.</footer>
</body>
</html>
""")
_STUDY = Template("""<li class="card">
<h3>$name$tag</h3>
<p class="soft">$id · $patients · protocol $protocol · revision $revision of <time datetime="$received">$day</time></p>
<p class="links"><a href="$root/v1/studies/$id/analyses">Report</a>$questions</p>
</li>""")
_NO_KEY = (
    '<p class="soft">Studies are shown to callers with an API key or a bearer token, in the header '
    "<code>Authorization: Bearer ...</code>.</p>"
)
_NO_STUDY = """<p class="soft">There is none yet. <code>python -m app demo</code> loads the demonstration study.</p>"""
_POLICY = (
    f"default-src 'none'; style-src {allowed_inline(_STYLE)}; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


def first_steps(at: str, *, with_key: bool = False) -> tuple[tuple[str, str], ...]:
    """The first commands to try at an address of the service, each with its title."""
    curl = 'curl -H "Authorization: Bearer $KEY" ' if with_key else "curl "
    return (
        ("Who responded?", f"{curl}{at}/v1/studies/demo/analyses/response-rates"),
        ("For how long does CK stay normal?", f"{curl}{at}/v1/studies/demo/analyses/ck-normal-time"),
        (
            "Post a result. Sent again, it changes nothing.",
            f"{curl}{at}/v1/studies/demo/patients/P01/events -H 'Content-Type: application/json' "
            """-d '{"patient": {"id": "P01"}, "labs": [{"code": "CK", "time": "2006-09-04T09:00:00+09:00", """
            """"value": 152, "unit": "U/L", "upper_limit": 163}]}'""",
        ),
    )


@router.get("/", include_in_schema=False)
def home(request: Request, state: State, caller: CallerOf) -> Response:
    """The page. A program that asks for JSON gets its links."""
    accepted = request.headers.get("accept", "")
    if "application/json" in accepted and "text/html" not in accepted:
        places = {"studies": "/v1/studies", "protocols": "/v1/protocols", "problems": "/problems", "docs": "/docs"}
        links = {name: address(request, place) for name, place in (places | {"openapi": "/openapi.yaml"}).items()}
        service = (
            {"service": "MyoResponse"} if caller is STRANGER else {"service": "MyoResponse", "version": __version__}
        )
        return reply({**service, "keys": who_is_asked(state.settings), **links}, headers={"Vary": "Accept"})
    readable = Scope.READ in caller.scopes
    shown = list_studies(state.database, limit=MOST_STUDIES + 1, among=caller.studies) if readable else []
    root = address(request, "")
    steps = (
        f"<li><h3>{escape(title)}</h3><pre><code>{escape(command)}</code></pre></li>"
        for title, command in first_steps(str(request.base_url).rstrip("/"), with_key=caller is not LOCAL)
    )
    page = _PAGE.substitute(
        style=_STYLE,
        version="" if caller is STRANGER else __version__,
        root=escape(root),
        asked=who_is_asked(state.settings),
        studies=_study_list(shown, root) if readable else _NO_KEY,
        steps="\n".join(steps),
    )
    return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY, "Vary": "Accept"})


def _study_list(shown: Sequence[studies.Study], root: str) -> str:
    """The studies, or what to do if there are none. Their names come from clients, so they are escaped."""
    if not shown:
        return _NO_STUDY
    items = "\n".join(_item(study, root) for study in shown[:MOST_STUDIES])
    more = f'<p><a href="{escape(root)}/v1/studies">All studies</a></p>' if len(shown) > MOST_STUDIES else ""
    return f"<ul>\n{items}\n</ul>{more}"


def _item(study: studies.Study, root: str) -> str:
    received = instant_text(study.received_at)
    home = f"{escape(root)}/v1/studies/{study.id}/analyses"
    return _STUDY.substitute(
        root=escape(root),
        id=escape(study.id),
        name=escape(study.name),
        tag=' <span class="tag">test</span>' if study.test else "",
        patients="1 patient" if study.patients == 1 else f"{study.patients} patients",
        protocol=escape(study.protocol.id),
        revision=study.revision,
        received=received,
        day=received[:10],
        questions="".join(f'<a href="{home}/{name}">{title}</a>' for name, title in _QUESTIONS),
    )
