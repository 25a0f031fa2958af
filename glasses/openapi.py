"""What can the server be asked, in the words of OpenAPI?  The description behind /openapi.json."""

from . import __version__
from .crops import KINDS
from .uploads import FIELD, Limits


def description(limits: Limits) -> dict:
    """The OpenAPI 3.1 document of a server with these limits."""
    predict = {
        "summary": "Do the faces in these photos wear glasses?",
        "description": "One answer for each photo, in their order. A photo that cannot be read is answered by its "
        "`error`. Photos stay in memory, and only until they are answered.",
        "operationId": "predict",
        "parameters": [
            {
                "name": "heatmap",
                "in": "query",
                "description": "1: each face gets a picture of where the network looks",
                "schema": {"type": "integer", "enum": [0, 1], "default": 0},
            }
        ],
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _form(limits)}}},
        "responses": {
            "200": _json("the answers", {"type": "array", "items": {"$ref": "#/components/schemas/Answer"}}),
            "400": _error("not such a form, or not such a query"),
            "408": _error("the request arrived too slowly"),
            "413": _error(
                f"a photo above {limits.file / 1e6:g} MB, more than {limits.files} photos, or a request above "
                f"{limits.body / 1e6:g} MB"
            ),
            "415": _error("not multipart/form-data"),
            "503": _error("too much work at the moment", {"Retry-After": "seconds until the next try"}),
        },
    }
    health = {
        "summary": "Is the server at work?",
        "operationId": "health",
        "responses": {"200": _json("it is", {"$ref": "#/components/schemas/Health"})},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Does this face wear glasses?",
            "version": __version__,
            "description": "Finds the faces in photos and says whether they wear glasses, and which kind.",
        },
        "paths": {"/predict": {"post": predict}, "/health": {"get": health}},
        "components": {"schemas": _schemas()},
    }


def _form(limits: Limits) -> dict:
    photo = {"type": "string", "contentMediaType": "application/octet-stream"}
    photos = {"type": "array", "items": photo, "minItems": 1, "maxItems": limits.files}
    return {"type": "object", "required": [FIELD], "properties": {FIELD: photos}, "additionalProperties": False}


def _json(about: str, schema: dict, headers: dict[str, str] | None = None) -> dict:
    response = {"description": about, "content": {"application/json": {"schema": schema}}}
    if headers:
        number = {"type": "integer"}
        response["headers"] = {name: {"description": text, "schema": number} for name, text in headers.items()}
    return response


def _error(about: str, headers: dict[str, str] | None = None) -> dict:
    return _json(about, {"$ref": "#/components/schemas/Error"}, headers)


def _object(optional: tuple[str, ...] = (), **properties: dict) -> dict:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


def _schemas() -> dict:
    """What the answers are made of; they are those of `glasses.output.as_record`."""
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    words = {"type": ["string", "null"]}
    box = {
        "type": "array",
        "items": {"type": "integer"},
        "minItems": 4,
        "maxItems": 4,
        "description": "x, y, w, h in pixels of the upright photo",
    }
    picture = {"type": ["string", "null"], "description": "a PNG as data URL; null where the network has no heat map"}
    return {
        "Answer": _object(
            path={"type": "string", "description": "the photo's file name, as it was sent, without folders"},
            glasses={"type": ["boolean", "null"], "description": "null: no face was found, or the photo not read"},
            probability={**probability, "type": ["number", "null"], "description": "of glasses on the main face"},
            kind={"enum": [*KINDS, None]},
            detector=words,
            faces={"type": "array", "items": {"$ref": "#/components/schemas/Face"}, "description": "main face first"},
            error={**words, "description": "why the photo could not be read"},
            warning={**words, "description": "what is not quite right with the photo"},
        ),
        "Face": _object(("heatmap",), box=box, probability=probability, kind={"enum": list(KINDS)}, heatmap=picture),
        "Error": _object(error={"type": "string", "description": "one line that says why, and what to do"}),
        "Health": _object(
            status={"const": "ok"},
            version={"type": "string"},
            requests={"type": "integer", "description": "that are received, wait or are at work"},
        ),
    }
