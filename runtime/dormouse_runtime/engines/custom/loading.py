"""From an entry point to a model in memory whose schemas are sound. Knows nothing of HTTP."""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry

from dormouse_api.runtime import MAX_INPUT_SCHEMA

log = logging.getLogger(__name__)

METHODS = ("load", "predict")
MAX_WORDS = 600


class CustomModelError(Exception):
    """The class cannot be served; the sentence says which step failed, in the class's own words."""


@dataclass(frozen=True)
class Loaded:
    """A class ready to predict."""

    path: str
    model: Any
    input_schema: Mapping[str, Any]
    output_schema: Mapping[str, Any] | None
    validator: Draft202012Validator


def find(path: str) -> Any:
    """An instance of `package.module:Class`."""
    module, _, name = path.partition(":")
    try:
        imported = importlib.import_module(module)
    except Exception as error:
        raise _failed(f"importing {module}", error) from error
    kind = getattr(imported, name, None)
    if not isinstance(kind, type):
        raise CustomModelError(f"{module} has no class {name}")
    if lacking := [method for method in METHODS if not callable(getattr(kind, method, None))]:
        raise CustomModelError(f"{path} has no method {' and no method '.join(lacking)}")
    try:
        return kind()
    except MemoryError:
        raise
    except Exception as error:
        raise _failed(f"{path}()", error) from error


def loaded(path: str, model: Any, folder: str, config: Mapping[str, str]) -> Loaded:
    """The model after its `load`."""
    try:
        model.load(folder, dict(config))
    except MemoryError:
        raise  # the supervisor knows these words
    except Exception as error:
        raise _failed(f"{path}.load", error) from error
    schema = _schema(path, "input_schema", getattr(model, "input_schema", None))
    output = getattr(model, "output_schema", None)
    if output is not None:
        output = _schema(path, "output_schema", output)
    # an empty registry: a $ref that leads elsewhere is an error, never a request
    validator = Draft202012Validator(schema, registry=Registry(), format_checker=Draft202012Validator.FORMAT_CHECKER)
    return Loaded(path, model, schema, output, validator)


def unload(served: Loaded) -> None:
    """The last call of the class, if it wants one. What goes wrong in it hinders nobody."""
    try:
        getattr(served.model, "unload", lambda: None)()
    except Exception:
        log.exception("%s.unload failed", served.path)


def _schema(path: str, name: str, schema: Any) -> Mapping[str, Any]:
    """The schema as plain JSON."""
    if not isinstance(schema, Mapping):
        raise CustomModelError(f"{path} has no {name}: set it to a JSON Schema, such as {{'type': 'object'}}")
    try:
        text = json.dumps(schema, allow_nan=False)
        Draft202012Validator.check_schema(json.loads(text))
    except SchemaError as error:
        raise CustomModelError(f"{path}.{name} is no JSON Schema: {error.message}"[:MAX_WORDS]) from error
    except (TypeError, ValueError) as error:
        raise CustomModelError(f"{path}.{name} is not JSON: {error}"[:MAX_WORDS]) from error
    if len(text) > MAX_INPUT_SCHEMA:
        raise CustomModelError(f"{path}.{name} has {len(text)} characters of JSON: {MAX_INPUT_SCHEMA} are the most")
    plain: Mapping[str, Any] = json.loads(text)
    return plain


def _failed(what: str, error: Exception) -> CustomModelError:
    return CustomModelError(f"{what} raised {type(error).__name__}: {error}"[:MAX_WORDS])
