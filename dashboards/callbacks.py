"""What pages may ask of callbacks, checked before Dash sees it: whoever sends something else is answered 400.

Dash takes a request's word for which callback is meant and what its arguments are. Here both come from the
callbacks themselves: their inputs from Dash's own map, their types from their annotations.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

from dash import Dash
from flask import abort, request
from flask.json.provider import DefaultJSONProvider
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from trainables.foreign import parse_json

ADDRESS = "/_dash-update-component"

Text = Annotated[str, Field(max_length=10_000)]
"""A name, an address or a menu's value; what is not Unicode, such as half a surrogate pair, is refused."""
Count = Annotated[int, Field(ge=0, le=2**53)]
"""What JavaScript counts exactly: clicks, ticks, readings of the store."""


class Order(TypedDict):
    """Which rows the table of trials shows: by which column, in which direction, which page of them."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    key: Text
    down: bool
    page: Annotated[int, Field(ge=-(2**53), le=2**53)]
    front: bool


@dataclass(frozen=True)
class _Callback:
    """What a request for one callback has to look like."""

    outputs: Any
    inputs: list[tuple[str, str]]
    state: list[tuple[str, str]]
    types: list[TypeAdapter[Any]]

    def accepts(self, body: dict[str, Any]) -> bool:
        inputs, state = body.get("inputs", []), body.get("state", [])
        changed = body.get("changedPropIds", [])
        names = {f"{id}.{prop}" for id, prop in self.inputs}
        return (
            _places(body.get("outputs")) == self.outputs
            and _places(inputs) == self.inputs
            and _places(state) == self.state
            and isinstance(changed, list)
            and all(isinstance(each, str) and each in names for each in changed)
            and all(
                _fits(adapter, argument.get("value"))
                for adapter, argument in zip(self.types, [*inputs, *state], strict=True)
            )
        )


def check_callbacks(app: Dash) -> None:
    """Refuse requests that no page makes; to be called once all callbacks of ``app`` are registered.

    Raises:
        TypeError: a callback has an argument whose type is not said.
    """
    app.server.json = _StrictJson(app.server)
    # Those that run in the browser have no function here, and nobody may ask for them.
    known = {name: _callback(entry) for name, entry in app.callback_map.items() if "callback" in entry}

    @app.server.before_request
    def check() -> None:
        if request.path != ADDRESS or request.method != "POST":
            return
        body = request.get_json()  # answers 415 or 400 by itself
        name = body.get("output") if isinstance(body, dict) else None
        callback = known.get(name) if isinstance(name, str) else None
        if callback is None or not callback.accepts(body):
            abort(400)


class _StrictJson(DefaultJSONProvider):
    """Flask's JSON, read by a parser whose every failure Flask answers with 400."""

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return parse_json(s)


def _callback(entry: dict[str, Any]) -> _Callback:
    function = inspect.unwrap(entry["callback"])
    hints = get_type_hints(function, include_extras=True)
    names = list(inspect.signature(function).parameters)
    if untold := [name for name in names if hints.get(name, Any) is Any]:
        raise TypeError(f"the callback {function.__qualname__} must say the types of {', '.join(untold)}")
    output = entry["output"]
    several = isinstance(output, (list, tuple))
    outputs = [(each.component_id, each.component_property) for each in (output if several else [output])]
    return _Callback(
        outputs if several else outputs[0],
        _places(entry["inputs"]),
        _places(entry["state"]),
        [TypeAdapter(hints[name]) for name in names],
    )


def _places(parts: Any) -> Any:
    """Id and property of each of ``parts``, or of the one; None of what is no such thing."""
    if isinstance(parts, list):
        return [_places(part) for part in parts]
    return (parts.get("id"), parts.get("property")) if isinstance(parts, dict) else None


def _fits(adapter: TypeAdapter[Any], value: Any) -> bool:
    try:
        adapter.validate_python(value, strict=True)
    except ValidationError:
        return False
    return True
