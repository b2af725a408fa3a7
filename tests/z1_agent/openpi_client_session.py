"""A user of openpi-client, run by a Python that has that package alone: PORT, and a file for what came back.

Sends observation k of `observations`, then what must be refused, then the first again.
"""

import sys

import numpy as np


def observations():
    """Three, under openpi's names and ours, as they come from robots: float64, lists, numpy's own texts."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(3):
        images = rng.integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
        found.append((rng.uniform(-1, 1, 16), images, "open the left drawer"))
    (first, a, text), (second, b, _), (third, c, _) = found
    return [
        {
            "observation/state": first,
            "observation/image": a[0],
            "observation/extra_view_image": a[1],
            "observation/wrist_image": a[2],
            "prompt": text,
        },
        {
            "state": second.tolist(),
            "image_left": b[0],
            "image_right": b[1],
            "image_wrist": b[2],
            "instruction": np.str_(text),
        },
        {
            "state": third.astype(np.float32),
            "observation/image": c[0],
            "image_right": c[1],
            "image_wrist": np.ascontiguousarray(c[2][::-1]),
            "prompt": np.array(text),
        },
    ]


def main(port, out):
    # Here, because the test that reads `observations` runs where the package is not.
    from openpi_client.websocket_client_policy import WebsocketClientPolicy

    client = WebsocketClientPolicy("127.0.0.1", port)
    sent = observations()
    answers = [client.infer(observation) for observation in sent]
    refusals = []
    for bad in (
        {"observation/state": np.full(16, np.nan), "prompt": "open"},
        sent[0] | {"observation/state": np.zeros(15)},
        sent[0] | {"observation/joints": np.zeros(3)},
        sent[0] | {"padding": np.zeros(17 * 2**20, np.uint8)},
    ):
        try:
            client.infer(bad)
        except RuntimeError as error:
            refusals.append(str(error))
    answers.append(client.infer(sent[0]))
    np.savez(
        out,
        actions=np.stack([answer["actions"] for answer in answers]),
        refusals=np.array(refusals),
        task=client.get_server_metadata()["task"],
        infer_ms=np.array([answer["server_timing"]["infer_ms"] for answer in answers]),
        has_previous=np.array(["prev_total_ms" in answer["server_timing"] for answer in answers]),
        policy_ms=np.array([answer["policy_timing"]["infer_ms"] for answer in answers]),
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
