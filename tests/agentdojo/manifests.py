"""Writes the manifest of each tool from its schema: one rule for every suite, which sees the names of tools and the
names, types and descriptions of arguments, and nothing of the tasks. docs/agentdojo.md has it in words.

    python manifests.py            # writes manifests/*.toml and server/*.json
"""

import json
import pathlib
import re

HERE = pathlib.Path(__file__).parent

# Verbs: the first word of a tool's name. What is in none of the lists may do anything, so it sends.
READS = {"get", "list", "read", "search", "check", "find", "show", "count", "look", "fetch", "view", "query"}
WRITES = {"create", "append", "edit", "write", "update", "set", "rename", "reschedule", "move", "mark", "draft"}
SPENDS = {"pay", "buy", "order", "reserve", "book", "transfer", "withdraw", "donate", "purchase"}

# Nouns: the last word of an argument's name.
MONEY = {"money", "payment", "transaction", "amount", "price"}
PLACES = {"url", "link", "website", "webpage", "uri"}
HOSTS = {"host", "domain", "server"}
PEOPLE = {"recipient", "recipients", "participant", "participants", "email", "emails", "cc", "bcc"}
AMOUNTS = {"amount", "price", "total", "limit"}
# Units of whatever it is: what an operator lets be worked out for a payee whom a person named.
SMALL = 100
ACCOUNTS = {"iban", "account"}
IDS = {"id", "ids"}
# Of a thing that is written: what it is found again by, whose it is, and what lets somebody in.
NAMES = {"name", "names", "title", "filename", "owner", "user", "users", "role", "permission", "password", "secret", "key", "token"}
# What lets somebody in by a letter, in words.
LETTERS = {"r": ["read", "view"], "w": ["write", "edit"], "rw": ["write", "edit"]}
# Verbs that take something away: who names a thing to be read has not said that it go.
TAKES = {"delete", "remove", "cancel", "clear", "drop"}
# People under another name, and lists whose names no stranger chooses.
CALLED = {"recipient": "contact", "participant": "contact", "email": "contact", "cc": "contact", "bcc": "contact"}
SAME = {"contact": {"contact", "user", "member", "person", "people"}}
OURS = {"contact", "user", "member", "person", "people", "channel", "group", "team"}
# What makes a word a name of the list; things are called by their titles, which people quote.
SIGNS = {"@": {"contact", "user", "member", "person", "people"}, "#": {"channel", "group", "team"}}
# By what a person knows a thing, and what it is for a tool.
TITLES = ["name", "title", "filename", "label"]
KEYS = {"id": ["id", "id_"], "email": ["email"], "account": ["iban", "account"]}
# What is said, and of when and where it speaks.
SAID = {
    "subject", "body", "content", "text", "message", "description", "note", "comment", "reason", "location",
    "date", "time", "day", "start", "end",
}  # fmt: skip


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def class_of(tool: str, arguments: dict[str, dict]) -> str:
    verb, *rest = words(tool)
    nouns = {words(name)[-1] for name in arguments}
    if verb in READS:
        # Whoever answers at an address that the call chooses is told by it.
        return "send" if nouns & (PLACES | HOSTS) else "read"
    if verb in SPENDS or (nouns | set(rest)) & MONEY:
        return "spend"
    return "write" if verb in WRITES else "send"


def gravest(of: str, arguments: dict[str, dict]) -> str:
    """With all its arguments: what names other people tells them."""
    return "send" if of == "write" and any(words(name)[-1] in PEOPLE for name in arguments) else of


def types(schema: dict) -> set[str]:
    return {kind for one in schema.get("anyOf", [schema]) if (kind := one.get("type", "")) != "null"}


def role_of(name: str, schema: dict, of: str) -> str:
    """The role of an argument of a tool of the class `of`."""
    last, said = words(name)[-1], set(words(f"{name} {schema.get('description', '')}"))
    if of == "read":
        return "selector"
    if last in PLACES:
        return "url"
    if last in HOSTS:
        return "host"
    if last in IDS:
        # What is written to is looked up; the target of all else is chosen.
        return "selector" if of == "write" else "id"
    if last in ACCOUNTS or last in PEOPLE and said & ACCOUNTS:
        return "account"
    if last in PEOPLE and (said & {"email", "emails"} or last in {"cc", "bcc"}):
        return "email"
    if last in AMOUNTS:
        return "number"
    if last in SAID or types(schema) == {"boolean"}:
        return "payload"
    return "payload" if of == "write" and last not in NAMES else "authority"


def singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and len(word) > 2 else word


def noun_of(name: str) -> set[str]:
    """What an argument names: the word before an id, or its last one; people are people."""
    all_words = [word for word in words(name) if word not in IDS] or [""]
    noun = singular(all_words[-1])
    return SAME.get(CALLED.get(noun, noun), {CALLED.get(noun, noun)}) if noun not in SAME["contact"] else SAME["contact"]


def result_of(tool: dict) -> dict:
    """The schema of what it gives; of a list, that of an entry, else of an object."""
    schema = tool.get("outputSchema", {})
    inner = schema.get("properties", {}).get("result", schema)
    is_list = inner.get("type") == "array"
    inner = inner.get("items", {}) if is_list else inner
    if "$ref" in inner:
        inner = schema["$defs"][inner["$ref"].split("/")[-1]]
    return {"is_list": is_list, "fields": list(inner.get("properties", {})), "type": inner.get("type")}


def first(wanted: list[str], fields: list[str]) -> str | None:
    return next((field for field in wanted if field in fields), None)


def listing(nouns: set[str], role: str, tools: list[dict]) -> str | None:
    """The first tool that lists all such things: one that takes nothing, or a search that is given no words."""
    for tool in tools:
        verb, *rest = words(tool["name"])
        needs = tool["inputSchema"].get("required") or []
        gives = result_of(tool)
        if class_of(tool["name"], tool["inputSchema"].get("properties", {})) != "read" or not gives["is_list"]:
            continue
        if needs and (verb, needs) != ("search", ["query"]) or not nouns & {singular(word) for word in rest}:
            continue
        fields = gives["fields"]
        title = "" if gives["type"] == "string" else first(TITLES, fields)
        key = first(KEYS[role], fields) if role in KEYS else title
        if title is None or key is None or (role in KEYS and not fields):
            continue
        found = {"tool": f'"{tool["name"]}"', "list": '"/result"'}
        found |= {"arguments": "'{\"query\":\"\"}'"} if needs else {}
        found |= {at: f'"/{field}"' for at, field in (("name", title), ("value", key)) if field}
        sign = next((sign for sign, of in SIGNS.items() if nouns & of), "quoted")
        found |= {"sign": f'"{sign}"'} | ({"unquoted": "true"} if nouns & OURS else {})
        return "{ " + ", ".join(f"{name} = {value}" for name, value in found.items()) + " }"
    return None


def creates(tool: dict) -> str | None:
    gives = result_of(tool)
    return None if words(tool["name"])[0] != "create" or gives["is_list"] else first(KEYS["id"], gives["fields"])


def choices(schema: dict, all_of: dict) -> list[str]:
    """The values of an argument that has few, each with the words for it."""
    named = all_of.get("$defs", {}).get(schema.get("$ref", "").split("/")[-1], schema)
    values = [value for value in named.get("enum", []) if isinstance(value, str)]
    return [f"{word}={value}" for value in values for word in LETTERS.get(value, [value])]


def manifest(tool: dict, tools: list[dict]) -> str:
    arguments = tool["inputSchema"].get("properties", {})
    verb = words(tool["name"])[0]
    of = class_of(tool["name"], arguments)
    most = gravest(of, arguments)
    lines = [f'class = "{of}"']
    if of == "read":
        lines.append('idempotency = "idempotent"')
    if made := creates(tool):
        lines.append(f'creates = "/{made}"')
    for name, schema in arguments.items():
        role = role_of(name, schema, most)
        lines.append(f'arguments.{name}.role = "{role}"')
        if role == "number":
            lines.append(f"arguments.{name}.up_to = {SMALL}")
        if most != of and words(name)[-1] in PEOPLE:
            lines.append(f'arguments.{name}.class = "{most}"')
        if role not in {"authority", *KEYS}:
            continue
        if named := choices(schema, tool["inputSchema"]):
            lines.append(f"arguments.{name}.names = {json.dumps(named)}")
        if verb not in TAKES and (found := listing(noun_of(name), role, tools)):
            lines.append(f"arguments.{name}.listing = {found}")
        makers = [other["name"] for other in tools if creates(other) and noun_of(name) & set(words(other["name"]))]
        if role == "id" and makers:
            lines.append(f"arguments.{name}.created_by = {json.dumps(makers)}")
    return "\n".join(lines)


def write(suite: str, tools: list[dict]) -> None:
    (HERE / "server" / f"{suite}.json").write_text(json.dumps(tools, indent=1) + "\n")
    tables = [f"[mcp.{suite}.tools.{tool['name']}]\n{manifest(tool, tools)}\n" for tool in tools]
    head = f"# Written by manifests.py from server/{suite}.json.\n"
    (HERE / "manifests" / f"{suite}.toml").write_text("\n".join([head, *tables]))


def offered(suite) -> list[dict]:
    """A suite's tools, as a server lists them."""
    tools = ((tool, tool.parameters.model_json_schema()) for tool in suite.tools)
    return [
        {"name": tool.name, "description": tool.description, "inputSchema": schema, **gives(tool.return_type)}
        for tool, schema in tools
    ]


def gives(kind) -> dict:
    """The schema of what it returns, as the library of a server derives it: what is no object is an entry of one."""
    from pydantic import TypeAdapter

    if kind is None:
        return {}
    schema = TypeAdapter(kind).json_schema(mode="serialization")
    if schema.get("type") == "object":
        return {"outputSchema": schema}
    defs = {"$defs": schema.pop("$defs")} if "$defs" in schema else {}
    return {"outputSchema": {"type": "object", "properties": {"result": schema}, "required": ["result"], **defs}}


if __name__ == "__main__":
    from cases import SUITES

    for name, suite in SUITES.items():
        write(name, offered(suite))
