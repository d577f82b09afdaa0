"""The page at /, and its files: they come with the package, and ask for nothing from elsewhere."""

from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

PAGE = Path(__file__).parent / "page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""of a page: what it may load, and that nobody shows it within another"""
router = APIRouter(include_in_schema=False)


class Files(StaticFiles):
    """The files of the page."""

    def __init__(self) -> None:
        super().__init__(directory=PAGE)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, which is to be asked for again, and then most often is unchanged."""
        response = await super().get_response(path, scope)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-cache"
        return response


files = Files()


@router.get("/")
async def page(request: Request) -> Response:
    """The page itself."""
    return await files.get_response("index.html", request.scope)
