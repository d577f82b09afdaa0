"""What Prometheus asks for."""

from collections.abc import Callable

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.types import Scope

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Counts of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route")
        of = self.registry
        self.requests = Counter("omni_requests", "Answers", (*labels, "status"), registry=of)
        self.seconds = Histogram(
            "omni_request_seconds", "Time to answer", labels, buckets=BUCKETS, registry=of
        )
        self.waiting = Gauge("omni_waiting_items", "Items that wait", ("model",), registry=of)
        self.ready = Gauge("omni_model_ready", "Whether it answers", ("model",), registry=of)

    def note(self, scope: Scope, status: int, seconds: float) -> None:
        """One answer; routes and not paths are labels, of which there must not be many."""
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if route != "other" else "other"
        self.requests.labels(method, route, str(status)).inc()
        self.seconds.labels(method, route).observe(seconds)

    def watch(self, model: str, waiting: Callable[[], int], ready: Callable[[], bool]) -> None:
        """Asks for these of a model whenever it is asked itself."""
        self.waiting.labels(model).set_function(waiting)
        self.ready.labels(model).set_function(ready)

    def router(self) -> APIRouter:
        """The route that tells."""
        router = APIRouter(tags=["service"])

        @router.get("/metrics")
        async def metrics() -> Response:
            """Counts and times, in the text format of Prometheus."""
            return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)

        return router
