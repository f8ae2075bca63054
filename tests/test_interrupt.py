"""Interrupting a cell of a notebook."""

from jupyter_client.manager import start_new_kernel

SETUP = """
import jax, jax.numpy as jnp, tele_jax as tele
from tele_jax.driver import drive

task = tele.tasks.least_squares(jax.random.key(0), num_nodes=8, dim=4)
method = tele.DSGD(tele.graphs.ring(8), 0.1)

def chunk(num_rounds, resume):
    return tele.simulate(method, task, jnp.ones(4), jax.random.key(1),
                         num_rounds=num_rounds, resume=resume)

def tell(done):
    print("a chunk is done", flush=True)
"""
LONG = "run = drive(chunk, num_rounds=10**9, rounds_per_chunk=1000, callbacks=[tell])"
SECONDS = 120


def _printed(client, code):
    """What a cell prints."""
    texts = []

    def hook(message):
        if message["msg_type"] == "error":
            raise AssertionError(message["content"])
        texts.append(message["content"].get("text", ""))

    client.execute_interactive(code, output_hook=hook, timeout=SECONDS)
    return "".join(texts)


def test_an_interrupted_cell_leaves_the_run_and_the_kernel():
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        _printed(client, SETUP)
        cell = client.execute(LONG)
        while True:
            message = client.get_iopub_msg(timeout=SECONDS)
            if "a chunk is done" in message["content"].get("text", ""):
                break
        manager.interrupt_kernel()
        while True:
            message = client.get_iopub_msg(timeout=SECONDS)
            ours = message["parent_header"].get("msg_id") == cell
            assert message["msg_type"] != "error", message["content"]
            if ours and message["content"].get("execution_state") == "idle":
                break
        done = int(_printed(client, "print(int(run.rounds[-1]))"))
        assert done % 1000 == 0
        assert 1000 <= done < 10**9
        assert "Run of" in _printed(client, "print(run)")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
