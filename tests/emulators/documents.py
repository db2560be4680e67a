"""Reads official OpenAPI documents: cuts them to the paths that a catalog file calls, with what those refer to."""

import copy
import json
import re
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
FORM = "application/x-www-form-urlencoded"
METHODS = ("get", "post", "put", "patch", "delete")


def read_json(path):
    return json.loads(Path(path).read_text())


def sources():
    """Where the document of each provider comes from, and how it is to be read."""
    return read_json(HERE / "documents.json")


def read_catalog(name):
    return tomllib.loads((ROOT / "crates/provider/src/catalog" / f"{name}.toml").read_text())


def list_requests(catalog):
    """Lists the requests of a catalog file: what they belong to, method, whole path with `{}` for expressions, request."""
    base = urlsplit(catalog["base_url"]).path.rstrip("/")
    for operation, table in catalog["operations"].items():
        steps = [(operation, table["request"], table.get("body", {}))]
        steps += [(f"{operation}.{step}", table[step]["request"], {}) for step in ("poll", "lookup") if step in table]
        for step, request, body in steps:
            yield step, request["method"], base + shape(request["path"]), request, body
    if verification := catalog.get("verification"):
        request = verification["request"]
        yield "verification", request["method"], base + shape(request["path"]), request, verification.get("body", {})


def shape(path):
    return re.sub(r"\{\{.*?\}\}", "{}", path)


def base_path(document):
    return urlsplit(document["servers"][0]["url"]).path.rstrip("/")


def find_path(document, method, path):
    """Finds the path of a document that a request goes to."""
    for official, table in document["paths"].items():
        shape = re.sub(r"\{[^}]*\}", "{}", base_path(document) + official)
        if shape == path and method.lower() in table:
            return official
    return None


def resolve(document, reference):
    at = document
    for step in reference.removeprefix("#/").split("/"):
        at = at[step.replace("~1", "/").replace("~0", "~")]
    return at


def unexpanded(value):
    """A value without the objects that Stripe puts in place of their ids where it is asked to: they are most of its document."""
    if isinstance(value, list):
        return [unexpanded(part) for part in value]
    if not isinstance(value, dict):
        return value
    if "x-expansionResources" in value:
        value = {**value, "anyOf": [part for part in value["anyOf"] if "$ref" not in part]}
        del value["x-expansionResources"]
    return {key: unexpanded(part) for key, part in value.items()}


def expand(document, schema):
    """A schema without `$ref` and `allOf` at its top."""
    if "$ref" in schema:
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**expand(document, resolve(document, schema["$ref"])), **beside}
    for part in schema.get("allOf", []):
        part = expand(document, part)
        properties = {**part.get("properties", {}), **schema.get("properties", {})}
        required = sorted({*part.get("required", []), *schema.get("required", [])})
        schema = {**part, **{key: value for key, value in schema.items() if key != "allOf"}}
        schema |= {"properties": properties} if properties else {}
        schema |= {"required": required} if required else {}
    return schema


def references(value):
    """All `$ref` within a value."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


def cut(document, catalog):
    """The document with those of its paths and methods alone that the catalog file calls, and the components that they need."""
    small = {key: document[key] for key in ("openapi", "info", "servers", "security") if key in document}
    small["paths"] = {}
    for _, method, path, _, _ in list_requests(catalog):
        official = find_path(document, method, path)
        if official is None:
            continue
        table = document["paths"][official]
        kept = small["paths"].setdefault(official, {})
        # A path's `servers` would have Prism answer for them alone.
        kept.update({key: value for key, value in table.items() if key not in METHODS and key != "servers"})
        kept[method.lower()] = unexpanded(table[method.lower()])
    small["components"] = {}
    if "securitySchemes" in document.get("components", {}):
        small["components"]["securitySchemes"] = document["components"]["securitySchemes"]
    wanted = list(references(small["paths"]))
    while wanted:
        _, _, kind, name = wanted.pop().split("/", 3)
        into = small["components"].setdefault(kind, {})
        if name not in into:
            into[name] = unexpanded(document["components"][kind][name])
            wanted.extend(references(into[name]))
    return copy.deepcopy(small)


def locate(document, pointer):
    """What holds the value at a JSON pointer, and its key there."""
    *way, last = [step.replace("~1", "/").replace("~0", "~") for step in pointer.removeprefix("/").split("/")]
    at = document
    for step in way:
        at = at[int(step)] if isinstance(at, list) else at[step]
    return at, int(last) if isinstance(at, list) else last


def depart(document, departures):
    """Changes a document where the provider is known to do something else than it says (RFC 6902: add, replace, remove, move)."""
    for departure in departures:
        at, key = locate(document, departure["path"])
        known = key in at if isinstance(at, dict) else key < len(at)
        if (departure["op"] in ("add", "move")) == known:
            raise LookupError(f"departure at {departure['path']}: `{departure['op']}` does not fit; is it still needed?")
        if departure["op"] == "remove":
            del at[key]
        elif departure["op"] == "move":
            source, name = locate(document, departure["from"])
            at[key] = source.pop(name)
        else:
            at[key] = departure["value"]


def for_prism(document):
    """The document as Prism is to read it: with whole paths, and with forms as JSON.

    Prism 5 can't read nested forms: it takes maps that are not there for empty ones, drops names that it does not know, and
    keeps the last of equal names. `forms.py` decodes them for it, so that each field is held against the official schema.
    """
    base = base_path(document)
    document["paths"] = {base + path: table for path, table in document["paths"].items()}
    for table in document["paths"].values():
        for operation in (table[method] for method in METHODS if method in table):
            content = operation.get("requestBody", {}).get("content", {})
            if FORM in content:
                content["application/json"] = {"schema": content.pop(FORM)["schema"]}
    return document


def officials(name, folder):
    """The official documents of a provider, each cut to its catalog file, the first with its departures."""
    source, catalog = sources()[name], read_catalog(name)
    documents = [read_json(Path(folder) / file) for file in (source["file"], *source.get("also", []))]
    for _, method, path, _, _ in list_requests(catalog):
        if not any(find_path(document, method, path) for document in documents):
            raise LookupError(f"{name}: {method} {path} is not in the official document")
    small = [cut(document, catalog) for document in documents]
    depart(small[0], source.get("departures", []))
    return small


def official(name, folder):
    """The official document of a provider that has one, cut to its catalog file, with its departures."""
    (document,) = officials(name, folder)
    return document


if __name__ == "__main__":
    # The files that tests/emulators/run takes from the package.
    print("\n".join(source["file"] for source in sources().values() if "package" in source))
