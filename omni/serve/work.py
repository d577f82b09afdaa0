"""/v1/jobs and /v1/runs: work that takes long, and what has come of it."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import FileResponse

from omni.serve import runs
from omni.serve.body import JSONRoute
from omni.serve.jobs import Job, Jobs
from omni.serve.orders import Orders, offers

router = APIRouter(prefix="/v1", route_class=JSONRoute, tags=["work"])
REPORT = (
    "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; img-src data:; media-src data:"
)
"""what a report may do: it is of this service, and still was made of what others said"""
PAUSE = 0.5
"""seconds between two looks at what runs"""


async def follow(jobs: Jobs) -> None:
    """Looks after the jobs, until it is told to end."""
    while True:
        jobs.poll()
        await asyncio.sleep(PAUSE)


def _jobs(request: Request) -> Jobs:
    jobs = request.app.state.jobs
    if jobs is None:
        raise HTTPException(404, "there are no jobs here: the service was started with --jobs 0")
    return jobs


def _told(job: Job) -> dict[str, Any]:
    """A job without the paths in its command."""
    words = [word if word.startswith("-") else Path(word).name for word in job.words]
    return asdict(job) | {"words": words}


def _known(request: Request, id: int) -> Job:
    job = _jobs(request).get(id) if id < 2**63 else None
    if job is None:
        raise HTTPException(404, "there is no job of this id")
    return job


@router.get("/jobs")
async def every(request: Request) -> dict[str, Any]:
    """All jobs, the newest first, and what may be asked for."""
    jobs = _jobs(request)
    return {"jobs": [*map(_told, jobs.all())], "offers": offers(request.app.state.settings.data)}


@router.post("/jobs", status_code=201)
async def add(request: Request, body: Orders) -> dict[str, Any]:
    """Puts a job into the queue: a training, an evaluation, or the building of an index."""
    jobs = _jobs(request)
    try:
        words = body.words(request.app.state.settings.data)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    try:
        return _told(jobs.add(body.kind, words))
    except ValueError as error:
        raise HTTPException(429, str(error), {"Retry-After": "60"}) from error


@router.get("/jobs/{id}")
async def one(request: Request, id: int) -> dict[str, Any]:
    """One job."""
    return _told(_known(request, id))


@router.get("/jobs/{id}/log")
async def log(
    request: Request, id: int, start: Annotated[int, Query(ge=0, lt=2**62)] = 0
) -> dict[str, Any]:
    """What a job has said from byte `start` on, and where to go on."""
    said, end = _jobs(request).log(_known(request, id).id, start)
    return {"text": said, "next": end}


@router.delete("/jobs/{id}")
async def cancel(request: Request, id: int) -> dict[str, Any]:
    """Asks a job to end, so that it saves what it has; asked again, kills it."""
    _jobs(request).cancel(_known(request, id).id)
    return _told(_known(request, id))


@router.get("/runs")
async def runs_of_it(request: Request) -> dict[str, Any]:
    """All runs, the one that went on last first."""
    return {"runs": runs.runs(request.app.state.settings.runs)}


@router.get("/runs/{name}")
async def run(request: Request, name: str) -> dict[str, Any]:
    """One run: its curves, and what it made at each of its previews."""
    found = runs.run(request.app.state.settings.runs, name)
    if found is None:
        raise HTTPException(404, "there is no such run")
    return found


@router.get("/runs/{name}/samples/{step}/{file}")
async def sample(request: Request, name: str, step: int, file: str) -> FileResponse:
    """A picture or a recording that a run made."""
    path = runs.sample(request.app.state.settings.runs, name, step, file)
    if path is None:
        raise HTTPException(404, "there is no such sample")
    return FileResponse(path, headers={"X-Content-Type-Options": "nosniff"})


@router.get("/runs/{name}/report")
async def report(request: Request, name: str) -> FileResponse:
    """The report of a run's evaluation."""
    root = request.app.state.settings.runs
    known = next((one for one in runs.runs(root) if one["name"] == name), None)
    if known is None or not known["report"]:
        raise HTTPException(404, "there is no such report")
    headers = {"Content-Security-Policy": REPORT, "X-Content-Type-Options": "nosniff"}
    return FileResponse(root / known["name"] / "report.html", headers=headers)
