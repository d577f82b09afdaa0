"""The service on several machines, by Ray Serve: each replica is the whole of it.

    serve run omni.serve.cluster:deploy model=/srv/demo index=/srv/things replicas=2

The folders must be there on every machine; one of an index may be shared. Ray's proxies listen, so
bounds on headers and connections are theirs; all that `Gate` and the processes bound holds.
"""

import argparse
from dataclasses import replace

from fastapi import FastAPI
from ray import serve

from omni.serve import command, indexing
from omni.serve.app import create
from omni.serve.settings import Settings


def deploy(arguments: dict[str, str]) -> serve.Application:
    """Of the arguments of `omni serve` without their dashes, and the number of `replicas`.

    There are no jobs. Raises `ValueError` as the command does.
    """
    left = dict(arguments)
    replicas = left.pop("replicas", "1")
    if not replicas.isdecimal() or int(replicas) < 1:
        raise ValueError(f"replicas must be at least 1, got {replicas}")
    parser = argparse.ArgumentParser(exit_on_error=False)
    command.add_arguments(parser)
    fields = vars(parser.parse_args([])).keys() - {"host", "port", "jobs"}  # Ray's own, and none
    known = {name.replace("_", "-") for name in fields}
    if unknown := left.keys() - known:
        raise ValueError(f"arguments must be among {sorted(known)}, got {sorted(unknown)}")
    words = [word for name, value in left.items() for word in (f"--{name}", *value.split())]
    try:
        settings = command.read(parser.parse_args([*words, "--jobs", "0"]))
    except argparse.ArgumentError as error:
        raise ValueError(str(error)) from error
    indexing.make(settings)  # once, before there are replicas that would each make it
    return application(replace(settings, source=None), int(replicas))


def application(settings: Settings, replicas: int) -> serve.Application:
    """What `ray.serve.run` takes. Raises `ValueError` for a model that cannot be loaded, later."""

    def build() -> FastAPI:  # in the replica; Ray wants a function proper
        return create(settings)

    replica = serve.ingress(build)()
    return serve.deployment(
        replica, name="omni", num_replicas=replicas, max_ongoing_requests=settings.waiting
    ).bind()
