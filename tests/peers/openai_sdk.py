"""The official OpenAI SDK against a running home, as somebody's existing program would use it.

openai_sdk.py BASE_URL TOKEN. Prints one line for each check; the first that does not hold ends it.
"""

import sys

import openai


def check(name: str, holds: bool) -> None:
    print(("held: " if holds else "BROKEN: ") + name)
    if not holds:
        sys.exit(1)


def main() -> None:
    base_url, token = sys.argv[1:]
    client = openai.OpenAI(base_url=base_url + "/v1", api_key=token, max_retries=2, timeout=60)

    check("the agents are the models", "main" in [model.id for model in client.models.list()])

    whole = client.chat.completions.with_raw_response.create(
        model="main", messages=[{"role": "user", "content": "/say hello from the script"}]
    )
    session = whole.headers["x-backstay-session"]
    completion = whole.parse()
    check("a whole reply", completion.choices[0].message.content == "hello from the script")
    check("it stopped by itself", completion.choices[0].finish_reason == "stop")
    check("it was billed", completion.usage is not None and completion.usage.total_tokens > 0)

    stream = client.chat.completions.create(
        model="main",
        messages=[{"role": "user", "content": "/say one two three"}],
        stream=True,
        stream_options={"include_usage": True},
        extra_headers={"X-Backstay-Session": session},
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    check("a streamed reply", text == "one two three")
    check("usage comes last, without choices", chunks[-1].usage is not None and not chunks[-1].choices)

    history = [
        {"role": "user", "content": "/say hello from the script"},
        {"role": "assistant", "content": "hello from the script"},
        {"role": "user", "content": "/say first of its own"},
    ]
    own = client.chat.completions.with_raw_response.create(model="main", messages=history[:1])
    first = own.headers["x-backstay-session"]
    check("without a header a new conversation is a new session", first != session)

    key = {"Idempotency-Key": "sdk-1"}
    asked = [{"role": "user", "content": "/call write_file {\"path\":\"out/sdk.txt\",\"content\":\"x\"}\n/then\n/say kept"}]
    once = client.chat.completions.with_raw_response.create(model="main", messages=asked, extra_headers=key)
    again = client.chat.completions.with_raw_response.create(model="main", messages=asked, extra_headers=key)
    check("a key gives the same turn", once.headers["x-backstay-turn"] == again.headers["x-backstay-turn"])
    check("and the same reply", again.parse().choices[0].message.content == "kept")

    for name, arguments, status in [
        ("an unknown agent", {"model": "nobody", "messages": asked}, 404),
        ("several choices", {"model": "main", "messages": asked, "n": 2}, 400),
        ("no message", {"model": "main", "messages": []}, 400),
    ]:
        try:
            client.chat.completions.create(**arguments)
            check(name + " is refused", False)
        except openai.APIStatusError as error:
            check(f"{name} is refused with {status}", error.status_code == status and bool(error.code))
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    other = [{"role": "user", "content": "/say something else"}]
    for name, kind, arguments in [
        ("tools of the client's own are a bad request", openai.BadRequestError, {"messages": asked, "tools": [tool]}),
        ("a key with another body is a conflict", openai.ConflictError, {"messages": other, "extra_headers": key}),
        ("a session of nobody is not found", openai.NotFoundError, {"messages": asked, "extra_headers": {"X-Backstay-Session": "0" * 16}}),
    ]:
        try:
            client.chat.completions.create(model="main", **arguments)
            check(name, False)
        except openai.APIStatusError as error:
            check(name, type(error) is kind and bool(error.code) and bool(error.body["message"]))
    try:
        openai.OpenAI(base_url=base_url + "/v1", api_key="bks_wrong", max_retries=0).models.list()
        check("a wrong token is refused", False)
    except openai.AuthenticationError:
        check("a wrong token is refused", True)


main()
