"""Asks with the official OpenAI SDK until the door has enough, and prints the seconds that it is told to wait.

openai_limited.py BASE_URL TOKEN
"""

import sys

import openai


def main() -> None:
    base_url, token = sys.argv[1:]
    client = openai.OpenAI(base_url=base_url + "/v1", api_key=token, max_retries=0, timeout=60)
    for number in range(3):
        try:
            client.chat.completions.create(model="main", messages=[{"role": "user", "content": f"/say {number}"}])
        except openai.RateLimitError as error:
            print(error.response.headers["retry-after"])
            return
    sys.exit("the door has no limit")


main()
