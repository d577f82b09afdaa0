"""Fields of OpenAI's requests: what is done, what asks for nothing, and what only hints.

A field that changes the form of an answer is honoured or refused. One that hints at how it is to
be found (`HINT`: a temperature, a voice) is taken, and a header of the answer names it.
"""

import json
from typing import Annotated, Any

from fastapi import Request
from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from omni.serve.body import Body

HINT = "hint"
"""marks a field that these models cannot follow, and that does not change an answer's form"""
Hint = Annotated[Any, HINT]


class Only:
    """The rule of a field of which these values ask for nothing, and any other is refused.

    Args:
        why: what the models do not do, for the one whose request is refused.
    """

    def __init__(self, *values: Any, why: str) -> None:
        self.values, self.why = values, why

    def check(self, value: Any) -> Any:
        """Return the value. Raises `PydanticCustomError` for one that asks for something."""
        if value in self.values:
            return value
        choices = [json.dumps(one) for one in self.values]
        rule = " or ".join([*choices, "left out"])
        raise refusal(f"must be {rule}, got {json.dumps(value)[:60]}: {self.why}")

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "enum": [*self.values]}


class Compatible(Body):
    """A request of OpenAI's: null is as good as left out, and some fields are for their books."""

    user: Hint = None
    metadata: Hint = None
    safety_identifier: Hint = None
    service_tier: Hint = None
    store: Hint = None

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {name: value for name, value in data.items() if value is not None}


def refusal(reason: str) -> PydanticCustomError:
    """Return the error of a field whose reason is said as it is."""
    return PydanticCustomError("refused", "{reason}", {"reason": reason})


def ignored(body: BaseModel) -> list[str]:
    """Name the fields that a request gives and that make no difference."""
    fields = type(body).model_fields
    return sorted(name for name in body.model_fields_set if HINT in fields[name].metadata)


def note(request: Request, body: BaseModel, *others: str) -> None:
    """Have the answer say which fields made no difference, and what else did not."""
    request.state.ignored = [*ignored(body), *others]
