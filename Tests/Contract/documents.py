"""Answers against the OpenAPI documents that describe them."""

from __future__ import annotations

from functools import cache

from jsonschema import Draft202012Validator

import raw


def closed(schema):
    """The document with no room for members that it does not name, so that an answer which has one is found."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {name: closed(value) for name, value in schema.items()}
    properties = copy.get("properties")
    if copy.get("type") == "object" and isinstance(properties, dict) and len(properties) > 1:
        copy.setdefault("additionalProperties", False)
    return copy


def check(document: dict, value, path: str, method: str = "get", status: int = 200) -> None:
    """The value is what the closed document says of this answer."""
    schema = document["paths"][path][method]["responses"][str(status)]["content"]["application/json"]["schema"]
    Draft202012Validator({**schema, "components": document["components"]}).validate(value)


@cache
def of_operators(url: str) -> dict:
    """The closed document of a port for operators."""
    return closed(raw.request(url, "GET", "/openapi.json").json())
