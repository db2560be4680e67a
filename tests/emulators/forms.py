"""Decodes `application/x-www-form-urlencoded` bodies into what they mean by an OpenAPI schema."""

import re
from urllib.parse import parse_qsl

from documents import expand


def decode(document, schema, body):
    """The value that a form means; what does not fit the schema is left as it is, for the validator to find."""
    tree = {}
    for name, text in parse_qsl(body, keep_blank_values=True, strict_parsing=bool(body), errors="strict"):
        first, rest = re.fullmatch(r"([^\[\]]+)((?:\[[^\[\]]*\])*)", name).groups()
        at = tree
        for step in (way := [first, *re.findall(r"\[([^\[\]]*)\]", rest)])[:-1]:
            at = at.setdefault(step, {})
        at.setdefault(way[-1], []).append(text)
    return shape(document, schema, tree)


def shape(document, schema, node):
    """A part of a form by the schema of its place: a map of parts, or the texts under one name."""
    schema = expand(document, schema)
    for branch in schema.get("anyOf", []):
        if fits(expand(document, branch), node):
            return shape(document, branch, node)
    kind = schema.get("type")
    if isinstance(node, dict):
        if kind == "array" and list(node) == [str(number) for number in range(len(node))]:
            return [shape(document, schema["items"], part) for part in node.values()]
        fields, other = schema.get("properties", {}), schema.get("additionalProperties")
        other = other if isinstance(other, dict) else {}
        return {name: shape(document, fields.get(name, other), part) for name, part in node.items()}
    if kind == "array":
        return [shape(document, schema["items"], [text]) for text in node]
    return scalar(kind, node[0]) if len(node) == 1 else node


def fits(schema, node):
    if isinstance(node, dict):
        return schema.get("type") in ("object", "array") or "properties" in schema
    if "enum" in schema:
        return node[0] in schema["enum"]
    return type(scalar(schema.get("type"), node[0])) is not str or schema.get("type") == "string"


def scalar(kind, text):
    if kind == "boolean" and text in ("true", "false"):
        return text == "true"
    if kind == "integer" and re.fullmatch(r"-?\d+", text):
        return int(text)
    if kind == "number" and re.fullmatch(r"-?\d+(\.\d+)?", text):
        return float(text)
    return text
