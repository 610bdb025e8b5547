"""One streamed completion by the official OpenAI SDK, with its own retries and no idempotency key.

openai_retries.py BASE_URL TOKEN. Prints {"text", "turn"} as JSON.
"""

import json
import sys

import openai


def main() -> None:
    base_url, token = sys.argv[1:]
    client = openai.OpenAI(base_url=base_url + "/v1", api_key=token, max_retries=2, timeout=60)
    stream = client.chat.completions.create(
        model="main", messages=[{"role": "user", "content": "once, please"}], stream=True
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    print(json.dumps({"text": text, "turn": stream.response.headers["x-backstay-turn"]}))


main()
