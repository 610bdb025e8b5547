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
    return "write" if verb in WRITES and not nouns & PEOPLE else "send"


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


def manifest(tool: dict) -> str:
    arguments = tool["inputSchema"].get("properties", {})
    of = class_of(tool["name"], arguments)
    lines = [f'class = "{of}"']
    for name, schema in arguments.items():
        role = role_of(name, schema, of)
        lines.append(f'arguments.{name}.role = "{role}"')
        if role == "number":
            lines.append(f"arguments.{name}.up_to = {SMALL}")
    return "\n".join(lines)


def write(suite: str, tools: list[dict]) -> None:
    (HERE / "server" / f"{suite}.json").write_text(json.dumps(tools, indent=1) + "\n")
    tables = [f"[mcp.{suite}.tools.{tool['name']}]\n{manifest(tool)}\n" for tool in tools]
    head = f"# Written by manifests.py from server/{suite}.json.\n"
    (HERE / "manifests" / f"{suite}.toml").write_text("\n".join([head, *tables]))


def offered(suite) -> list[dict]:
    """A suite's tools, as a server lists them."""
    tools = ((tool, tool.parameters.model_json_schema()) for tool in suite.tools)
    return [{"name": tool.name, "description": tool.description, "inputSchema": schema} for tool, schema in tools]


if __name__ == "__main__":
    from cases import SUITES

    for name, suite in SUITES.items():
        write(name, offered(suite))
