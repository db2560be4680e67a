"""Makes the tables of constraints in tests/fixtures/provider-constraints from official documents, or compares them.

usage: constraints.py check|write FOLDER [PROVIDER…]

FOLDER holds the documents that documents.json names. Without providers: all whose document a package has.
"""

import json
import sys
from pathlib import Path

from documents import ROOT, expand, find_path, list_requests, officials, read_catalog, sources

TABLES = ROOT / "tests/fixtures/provider-constraints"
LIMITS = ("minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "maxProperties")
LOWER = ("minLength", "minimum", "minItems")


def kinds(schema):
    """The types that a schema allows."""
    if "type" in schema:
        return [schema["type"]]
    return ["object"] if "properties" in schema else []


def reduce(document, schema, depth=2):
    """The constraints of one field, as far as they can be held against a payload's schema."""
    schema = expand(document, schema)
    branches = [reduce(document, branch, depth) for branch in schema.get("anyOf", schema.get("oneOf", []))]
    if branches:
        return merge_branches(branches)
    reduced = {"type": kinds(schema)} if kinds(schema) else {}
    reduced |= {limit: schema[limit] for limit in LIMITS if limit in schema}
    if "enum" in schema:
        reduced["enum"] = [value for value in schema["enum"] if value is not None]
    if depth and schema.get("type") == "array":
        reduced["items"] = reduce(document, schema["items"], depth - 1)
    if depth and isinstance(schema.get("additionalProperties"), dict):
        reduced["values"] = reduce(document, schema["additionalProperties"], depth - 1)
    if "x-keys" in schema:
        reduced["keys"] = schema["x-keys"]
    return reduced


def merge_branches(branches):
    """What a value has to keep to where it has to fit one of some branches: the widest of each."""
    merged = {"type": sorted({kind for branch in branches for kind in branch.get("type", [])})}
    for limit in (*LIMITS, "enum", "items", "values", "keys"):
        # A limit that one branch of the type does not have is none.
        found = [branch[limit] for branch in branches if limit in branch]
        able = [branch for branch in branches if limit in branch or may_have(branch, limit)]
        if not found or len(found) < len(able):
            continue
        if limit == "enum":
            merged[limit] = [value for values in found for value in values]
        elif limit in LIMITS:
            merged[limit] = min(found) if limit in LOWER else max(found)
        else:
            merged[limit] = found[0]
    return merged


def may_have(branch, limit):
    """Whether a branch allows values to which a limit applies, without stating it. A closed list needs no other limit."""
    if "enum" in branch:
        return False
    types = {
        "minLength": "string", "maxLength": "string", "enum": "string", "minimum": "integer", "maximum": "integer",
        "minItems": "array", "maxItems": "array", "items": "array",
    }  # fmt: skip
    return types.get(limit, "object") in branch.get("type", [])


def describe_level(document, schema, ours):
    """The fields of one map of a body, and those of the maps and lists within that the catalog file writes itself."""
    schema = expand(document, schema)
    level = {"fields": {}}
    if schema.get("required"):
        level["required"] = sorted(schema["required"])
    for name, field in sorted(schema.get("properties", {}).items()):
        level["fields"][name] = reduce(document, field)
        inner = ours.get(name) if isinstance(ours, dict) else None
        if isinstance(inner, dict):
            level["fields"][name] |= describe_level(document, field, inner)
        elif isinstance(inner, list) and inner and isinstance(inner[0], dict):
            items = expand(document, field)["items"]
            level["fields"][name]["items"] = {"type": ["object"]} | describe_level(document, items, inner[0])
    return level


def media_type(content):
    return "application/json" if "application/json" in content else next(iter(content))


def write_table(value, indent=0):
    """JSON with what is short in one line."""
    text = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, (dict, list)) or not value or len(text) + indent <= 120 and "fields" not in text:
        return text
    opened, closed = "{}" if isinstance(value, dict) else "[]"
    names = [f"{json.dumps(key)}: " for key in value] if isinstance(value, dict) else [""] * len(value)
    parts = value.values() if isinstance(value, dict) else value
    lines = [" " * (indent + 1) + name + write_table(part, indent + 1) for name, part in zip(names, parts)]
    return opened + "\n" + ",\n".join(lines) + "\n" + " " * indent + closed


def describe_request(document, method, path, body):
    """What a document says of one request: its parameters by place, and its body."""
    table = document["paths"][find_path(document, method, path)]
    operation = table[method.lower()]
    described = {}
    for parameter in [*table.get("parameters", []), *operation.get("parameters", [])]:
        parameter = expand(document, parameter)
        place = described.setdefault(parameter["in"], {})
        place[parameter["name"]] = reduce(document, parameter["schema"])
        if parameter.get("required"):
            place[parameter["name"]]["required"] = True
    if body and "requestBody" in operation:
        content = expand(document, operation["requestBody"])["content"]
        described["media_types"] = sorted(content)
        described["body"] = describe_level(document, content[media_type(content)]["schema"], body)
    return described


def make_table(name, folder):
    source, documents = sources()[name], officials(name, folder)
    kept = ("what", "source", "why")
    table = {
        "source": source["source"],
        "version": ", ".join(document["info"]["version"] for document in documents),
        "departures": [{key: departure[key] for key in kept} for departure in source.get("departures", [])],
        "requests": {},
    }
    catalog = read_catalog(name)
    for _, method, path, _, body in list_requests(catalog):
        document = next(document for document in documents if find_path(document, method, path))
        described = describe_request(document, method, path, body)
        known = table["requests"].get(f"{method} {path}", {})
        table["requests"][f"{method} {path}"] = {**known, **described}
    return table


def main():
    command, folder, *names = sys.argv[1:]
    names = names or [name for name, source in sources().items() if "package" in source]
    wrong = []
    for name in names:
        path, text = TABLES / f"{name}.json", write_table(make_table(name, folder)) + "\n"
        if command == "write":
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            wrong.append(str(path.relative_to(ROOT)))
    if wrong:
        line = f"python3 tests/emulators/constraints.py write {Path(folder)}"
        sys.exit(f"{', '.join(wrong)}: not what the official documents say; look at what changed, and run: {line}")


if __name__ == "__main__":
    main()
