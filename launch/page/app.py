"""The page as a web application: a rater's own link, and three forms on it. Server-rendered; it works without scripts.

GET /r/SECRET/ -> the pair in hand    POST judge | skip | undo -> 303 back to it (204 for the page's script)
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy import Engine, text
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandwiching.launch.page import answers
from sandwiching.launch.page.collect import count_pairs
from sandwiching.launch.page.forms import LONGEST_WHY, BadForm, fields, named, verdict
from sandwiching.launch.page.records import Terms
from sandwiching.launch.page.tables import reading

HERE = Path(__file__).parent
ASSETS = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
MINIMAL = "return=minimal"
"""What the page's script asks for (RFC 7240): that a form is saved is said without a page."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of every response. Links are secrets, so that they must not travel in a Referer."""


class SafeHeaders:
    """Adds HEADERS to every response, whatever made it; what is not an asset is never stored."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name for name, _ in message["headers"]}
                extra = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                if b"cache-control" not in names:
                    extra.append((b"cache-control", b"no-store"))
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        await self.app(scope, receive, sending)


class Page:
    """The handlers; engine: of the database. What takes time in it runs in threads."""

    def __init__(self, engine: Engine, terms: Terms) -> None:
        self.engine = engine
        self.terms = terms
        self.pair_count = count_pairs(engine)[0]
        self.assets = {name: (HERE / "static" / name).read_bytes() for name in ASSETS}
        templates = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined)
        version = hashlib.sha256(b"".join(self.assets.values())).hexdigest()[:12]
        templates.globals.update(version=version, longest_why=LONGEST_WHY)
        self.rated, self.message = templates.get_template("rate.html"), templates.get_template("message.html")

    async def show(self, request: Request) -> Response:
        """The pair in hand, or that nothing is left."""
        return await run_in_threadpool(self._show, request.path_params["secret"])

    def _show(self, secret: str) -> Response:
        screen = answers.screen(self.engine, secret, self.terms, self.pair_count, time.time())
        return HTMLResponse(self.rated.render(screen=screen))

    async def judge(self, request: Request) -> Response:
        """A verdict."""
        form = await fields(request)
        what, said = named(form), verdict(form)
        secret = request.path_params["secret"]
        return await self._done(request, answers.judge, secret, what.key, what.attempt, said, self.terms, time.time())

    async def skip(self, request: Request) -> Response:
        """A pair that this rater leaves to others."""
        what = named(await fields(request))
        secret = request.path_params["secret"]
        return await self._done(request, answers.skip, secret, what.key, what.attempt, self.terms, time.time())

    async def undo(self, request: Request) -> Response:
        """The last verdict or skip taken back."""
        what = named(await fields(request))
        secret = request.path_params["secret"]
        return await self._done(request, answers.undo, secret, what.key, what.attempt, time.time())

    async def _done(self, request: Request, function: Callable[..., bool], *arguments: object) -> Response:
        # Whether this was the first time or a second makes no difference to the rater.
        await run_in_threadpool(function, self.engine, *arguments)
        if request.headers.get("prefer") == MINIMAL:
            # A redirect would not tell the script whose it is: a proxy that asks for a login answers with one, too.
            return Response(status_code=204, headers={"Preference-Applied": MINIMAL})
        return RedirectResponse("./", status_code=303)

    async def asset(self, request: Request) -> Response:
        """Style, script or icon; their address changes with their content."""
        name = request.path_params["name"]
        if name not in ASSETS:
            return PlainTextResponse("not found", 404)
        return Response(
            self.assets[name], media_type=ASSETS[name], headers={"Cache-Control": "public, max-age=31536000, immutable"}
        )

    async def health(self, _request: Request) -> Response:
        """Whether the database answers."""

        def ask() -> None:
            with reading(self.engine) as connection:
                connection.execute(text("select 1"))

        await run_in_threadpool(ask)
        return PlainTextResponse("ok")

    def say(self, title: str, body: str, status: int, depth: str) -> Response:
        """A page of words alone. depth: the way up to the root."""
        return HTMLResponse(self.message.render(title=title, body=body, depth=depth), status)

    async def unknown(self, request: Request, _error: Exception) -> Response:
        """The same words for a wrong link and for what is another's."""
        depth = "../" * (request.scope["path"].removeprefix(request.scope.get("root_path", "")).count("/") - 1)
        return self.say(
            "This link does not work",
            "It may be incomplete, or a newer one replaced it. Ask whoever sent it for a new one.",
            404,
            depth or "./",
        )

    async def refused(self, _request: Request, error: Exception) -> Response:
        """A form that cannot be."""
        assert isinstance(error, BadForm)
        return self.say("Not saved", str(error), error.status, "../../")


def make_app(engine: Engine, terms: Terms) -> ASGIApp:
    """The application over a database that `tables.create` has made."""
    page = Page(engine, terms)

    def post(verb: str, handler: Callable[[Request], Awaitable[Response]]) -> Route:
        return Route(f"/r/{{secret}}/{verb}", handler, methods=["POST"])

    routes = [
        Route("/r/{secret}/", page.show),
        post("judge", page.judge),
        post("skip", page.skip),
        post("undo", page.undo),
        Route("/static/{name}", page.asset),
        Route("/health", page.health),
    ]
    handlers = {answers.UnknownLink: page.unknown, BadForm: page.refused, 404: page.unknown}
    # Around all of it, so that the answer to a failure has them too.
    return SafeHeaders(Starlette(routes=routes, exception_handlers=handlers))
