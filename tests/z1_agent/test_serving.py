"""A served policy acts as the policy itself, refuses in one sentence, and lives on."""

import contextlib
import dataclasses
import errno
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import torch
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Origin

from tests.z1_agent.conftest import nano_policy
from tests.z1_agent.openpi_client_session import observations
from z1_agent import checkpoint, remote, serving
from z1_agent.checkpoint import Checkpoint
from z1_agent.cli import main
from z1_agent.policy import Pi05Policy
from z1_agent.remote import RemoteAgent, RemoteError
from z1_agent.serving import PolicyServer, describe, is_loopback, listen, read_observation
from z1_agent.wire import OPENPI_KEYS, pack, unpack
from z1_envs.evaluate import EvalProtocol, evaluate
from z1_envs.kitchen.env import KitchenVectorEnv
from z1_envs.kitchen.simulation import BACKEND
from z1_envs.layout import ACTION, SCENE, STATE

ROOT = Path(__file__).parents[2]
RUN_Z1 = [sys.executable, "-c", "import sys; from z1_agent.cli import main; sys.exit(main())"]
PAGE = Origin("http://a-web-page.example")
# A Python with openpi-client and what it pins (numpy < 2), in an environment of its own; .ci/run makes one.
OPENPI_PYTHON = os.environ.get("Z1_OPENPI_PYTHON")


@contextmanager
def served(policy: Pi05Policy) -> Iterator[int]:
    """The port of a server of `policy`, which is gone afterwards."""
    listening = listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    loaded = Checkpoint(policy=policy, task="OpenDrawer", backend="kitchen")
    server = PolicyServer(policy, describe(loaded), listening)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield port
    finally:
        server.stop()
        thread.join(timeout=20)
        assert not thread.is_alive()


@contextmanager
def client(port: int) -> Iterator[ClientConnection]:
    with connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None, proxy=None) as connection:
        connection.recv()
        yield connection


def ask(connection: ClientConnection, message: Any) -> Any:
    """The answer to an observation, or to a message as it is; a refusal is a text."""
    connection.send(message if isinstance(message, bytes | str) else pack(message))
    answer = connection.recv()
    return answer if isinstance(answer, str) else unpack(answer)


def nano_of_scene(scene_width: int, *, vision: bool) -> Pi05Policy:
    """A nano policy that reads `scene_width` entries of scene; the same weights at every call."""
    template = nano_policy(vision=vision)
    scene = {"scene_mean": np.zeros(scene_width), "scene_std": np.ones(scene_width)}
    model = dataclasses.replace(template.config.model, scene_width=scene_width, num_scene_tokens=4 * bool(scene_width))
    torch.manual_seed(0)
    return Pi05Policy(
        dataclasses.replace(template.config, model=model),
        dataclasses.replace(template.normalizer, **scene),
        template.tokenizer,
    )


def of_row(observation: dict, row: int = 0) -> dict:
    return {name: values[row] for name, values in observation.items()}


def test_actions_are_the_policy_s_own_bit_for_bit(nano_policy, observation) -> None:
    batch = observation(4, vision=True)
    local, elsewhere = nano_policy(vision=True, executed_len=7), nano_policy(vision=True, executed_len=7)
    rows = [{name: values[i : i + 1] for name, values in batch.items()} for i in range(4)]
    expected = np.concatenate([local.act(row) for row in rows])
    with served(elsewhere) as port, RemoteAgent("127.0.0.1", port) as agent:
        actions = agent.act(batch)
    assert actions.shape == (4, 7, ACTION.width)
    assert actions.tobytes() == expected.tobytes()


def test_metadata_say_what_is_served(nano_policy) -> None:
    with served(nano_policy(vision=True, executed_len=7)) as port, RemoteAgent("127.0.0.1", port) as agent:
        about = agent.metadata
    assert (about["task"], about["backend"]) == ("OpenDrawer", "kitchen")
    assert (about["executed_len"], about["chunk_len"], about["image_px"]) == (7, 10, 64)
    assert about["reads"] == ["state", "scene", "image_left", "image_right", "image_wrist", "instruction"]
    assert about["keys"]["image_wrist"] == ["image_wrist", "observation/wrist_image"]
    assert about["keys"]["scene"] == ["scene"]
    assert [name for name, _, _ in about["layouts"]["ACTION"]] == [part.name for part in ACTION.parts]
    assert sum(width for _, width, _ in about["layouts"]["STATE"]) == STATE.width
    assert about["versions"]["torch"] == torch.__version__


def test_both_names_of_a_key_mean_the_same(nano_policy, observation) -> None:
    policy = nano_policy(vision=True)
    row = of_row(observation(1, vision=True))
    ours = read_observation(row, policy)
    theirs = read_observation({OPENPI_KEYS.get(name, name): value for name, value in row.items()}, policy)
    assert list(ours) == list(theirs)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])
    assert ours["state"].shape == (1, 16)
    assert ours["instruction"] == [row["instruction"]]
    assert read_observation(row | {"image_right": None}, policy)["image_right"] is None
    assert "image_left" not in read_observation(row, nano_policy())


def test_refusals_are_sentences_and_the_connection_lives(nano_policy, observation) -> None:
    row = of_row(observation(1, vision=True))
    image = row["image_left"]
    cases: list[tuple[Any, str]] = [
        ("hello", "is a binary message of msgpack, got a text message"),
        (b"\xc1 no msgpack", "the message is not msgpack"),
        (
            msgpack.packb({"state": {b"__ndarray__": True, b"data": b"", b"dtype": "|O", b"shape": [1]}}),
            "'|O' are refused",
        ),
        ([1, 2], "is a map of parts by name, got list"),
        ({}, "lacks state, scene, image_left, image_right, image_wrist, instruction; this policy reads"),
        (row | {"sate": 1}, "unknown key 'sate'; an observation has state, scene"),
        (row | {"prompt": "open"}, "'instruction' came under both its names"),
        (row | {"state": np.zeros(15)}, "'state' needs 16 finite numbers, got float64 [15]"),
        (row | {"state": np.zeros((1, 16))}, "'state' needs 16 finite numbers, got float64 [1, 16]"),
        (
            row | {"state": np.full(16, np.nan)},
            "'state' needs 16 finite numbers, got float64 [16] with nan or infinity",
        ),
        (row | {"state": np.full(16, 1e300)}, "needs numbers that float32 holds"),
        (row | {"state": [[1.0], 2.0]}, "'state' needs 16 finite numbers, got list of 2"),
        (row | {"state": "front"}, "'state' needs 16 finite numbers, got str"),
        (row | {"scene": np.zeros(5, np.float32)}, "'scene' needs 6 finite numbers, got float32 [5]"),
        (row | {"image_left": image / 255}, "needs an array uint8 [height, width, 3], got float64 [64, 64, 3]"),
        (row | {"image_left": image[None]}, "got uint8 [1, 64, 64, 3]"),
        (row | {"image_left": image[:0]}, "got uint8 [0, 64, 3]"),
        (row | {"image_left": image.tolist()}, "got list of 64"),
        (row | {"instruction": ["open"]}, "'instruction' needs a text, got list of 1"),
        (
            bytes(serving.MAX_MESSAGE + 1),
            f"has {serving.MAX_MESSAGE + 1} bytes, at most {serving.MAX_MESSAGE} are read",
        ),
    ]
    with served(nano_policy(vision=True)) as port, client(port) as connection, client(port) as other:
        for message, sentence in cases:
            answer = ask(connection, message)
            assert isinstance(answer, str), sentence
            assert sentence in answer
            assert "\n" not in answer
            assert "/" not in answer.replace("observation/", ""), "a path"
        for each in (connection, other):
            assert ask(each, row)["actions"].shape == (10, ACTION.width)
        assert ask(connection, row)["server_timing"]["prev_total_ms"] > 0


def test_a_policy_that_fails_leaves_the_server_up(nano_policy, observation, capsys) -> None:
    policy = nano_policy()
    act, row = policy.act, of_row(observation(1))

    def fails_once(_observation: object) -> None:
        policy.act = act
        raise RuntimeError(f"out of memory at {__file__}")

    policy.act = fails_once
    with served(policy) as port, client(port) as connection:
        assert ask(connection, row) == "the policy failed on this observation; the server's own output says how"
        assert ask(connection, row)["actions"].shape == (10, ACTION.width)
    assert "out of memory" in capsys.readouterr().err


def test_a_connection_that_cannot_be_accepted_ends_no_other(nano_policy, observation, monkeypatch, capsys) -> None:
    monkeypatch.setattr(serving, "_RETRY", 0.05)
    row, accept = of_row(observation(1)), socket.socket.accept
    failures = [OSError(errno.EMFILE, "Too many open files"), OSError(errno.ECONNABORTED, "Connection aborted")]

    def fails_twice(listening: socket.socket) -> Any:
        if failures:
            raise failures.pop()
        return accept(listening)

    with served(nano_policy()) as port, client(port) as first:
        monkeypatch.setattr(socket.socket, "accept", fails_twice)
        with client(port) as second:
            for each in (first, second):
                assert ask(each, row)["actions"].shape == (10, ACTION.width)
    assert failures == []
    said = capsys.readouterr().err
    assert "a connection could not be accepted (Connection aborted)" in said
    assert "a connection could not be accepted (Too many open files)" in said


def test_a_client_that_is_gone_when_it_is_accepted_keeps_nobody_from_stopping(nano_policy, monkeypatch) -> None:
    accept, asked = socket.socket.accept, []

    def leaves(listening: socket.socket) -> Any:
        if not asked:
            asked.append(accept(listening)[0].close())
            raise OSError(errno.ECONNABORTED, "Connection aborted")
        return accept(listening)

    monkeypatch.setattr(serving, "_RETRY", 0.05)
    with served(nano_policy()) as port:
        monkeypatch.setattr(socket.socket, "accept", leaves)
        socket.create_connection(("127.0.0.1", port)).close()
        deadline = time.monotonic() + 20
        while not asked and time.monotonic() < deadline:
            time.sleep(0.01)
    assert asked


def test_a_server_that_ends_by_itself_says_so(nano_policy) -> None:
    policy, listening = nano_policy(), listen("127.0.0.1", 0)
    server = PolicyServer(policy, describe(Checkpoint(policy=policy, task="x", backend="kitchen")), listening)
    listening.close()  # as by anybody but `stop`
    with pytest.raises(RuntimeError, match="takes no connections any more"):
        server.run()


def test_what_is_far_too_large_closes_its_own_connection_only(nano_policy, observation, monkeypatch) -> None:
    monkeypatch.setattr(serving, "MAX_READ", 2**20)
    with served(nano_policy()) as port, client(port) as other:
        with pytest.raises(ConnectionClosed), client(port) as connection:
            ask(connection, bytes(2**20 + 1))
        assert ask(other, of_row(observation(1)))["actions"].shape == (10, ACTION.width)


def test_clients_are_served_one_after_another(nano_policy, observation) -> None:
    policy = nano_policy()
    act, inside, most = policy.act, [], []

    def watched(row: dict) -> np.ndarray:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.02)
        inside.pop()
        return act(row)

    policy.act = watched
    batch, answers = observation(3), {}
    with served(policy) as port:

        def play(row: int) -> None:
            with client(port) as connection:
                answers[row] = [ask(connection, of_row(batch, row)) for _ in range(3)]

        threads = [threading.Thread(target=play, args=(row,)) for row in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
    assert most == [1] * 9
    assert sorted(answers) == [0, 1, 2]
    assert max(answer["server_timing"]["wait_ms"] for rows in answers.values() for answer in rows) > 10


def test_health_and_web_pages(nano_policy) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with served(nano_policy()) as port:
        with direct.open(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
            assert (answer.status, answer.read()) == (200, b"OK\n")
        with pytest.raises(InvalidStatus, match="403"), connect(f"ws://127.0.0.1:{port}", origin=PAGE, proxy=None):
            pass


def test_evaluating_a_served_policy() -> None:
    protocol = EvalProtocol(
        name="house",
        version=1,
        task="CloseSingleDoor",
        backend=BACKEND,
        split="train",
        obs="state",
        num_episodes=1,
        seed=0,  # which is also what a fresh policy's noise starts from
        horizon=20,
        chunk_len=10,
    )
    envs = KitchenVectorEnv("CloseSingleDoor", num_envs=1, obs="state", horizon=20, num_threads=1)
    with served(nano_of_scene(SCENE.width, vision=False)) as port, RemoteAgent("127.0.0.1", port) as agent:
        found = evaluate(agent, envs, protocol)
    local = evaluate(nano_of_scene(SCENE.width, vision=False), envs, protocol)
    envs.close()
    assert found.to_json() == local.to_json()


def test_an_agent_says_what_the_server_did(nano_policy, observation) -> None:
    with served(nano_policy()) as port:
        agent = RemoteAgent("127.0.0.1", port)
        with pytest.raises(RemoteError, match="refused: 'scene' needs 6 finite numbers"):
            agent.act(observation(1) | {"scene": np.zeros((1, 5))})
        with (
            RemoteAgent("127.0.0.1", port, keys=OPENPI_KEYS) as nameless,
            pytest.raises(RemoteError, match="refused: the observation lacks scene"),
        ):
            nameless.act(observation(1))
    with pytest.raises(RemoteError, match=r"has closed the connection.*connect again"):
        agent.act(observation(1))
    with pytest.raises(RemoteError, match=f"no policy server answers at ws://127.0.0.1:{port}: .*z1 serve CHECKPOINT"):
        RemoteAgent("127.0.0.1", port)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ([b"\xc1"], "is no policy server: the message is not msgpack"),
        ([pack([1])], "is no policy server: it sent list, not a map"),
        (["busy"], "refused: busy"),
        ([], "is no policy server: it said nothing in 0 s"),
        ([pack({}), pack({"action": 1})], "answered with actions <U1 [], expected finite numbers [H, 12]"),
        ([pack({}), pack({"actions": np.zeros((50, 7))})], "answered with actions float64 [50, 7], expected"),
        ([pack({}), pack({"actions": np.full((5, 12), np.nan)})], "float64 [5, 12], expected finite numbers"),
    ],
)
def test_an_agent_trusts_no_server(said: list[bytes | str], message: str, observation, monkeypatch) -> None:
    monkeypatch.setattr(remote, "_METADATA_TIMEOUT", 0.3)

    def say(connection: ServerConnection) -> None:
        for answer in said:
            connection.send(answer)
        with contextlib.suppress(ConnectionClosed):
            connection.recv()
            connection.recv()

    with listen("127.0.0.1", 0) as listening, serve(say, sock=listening) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with pytest.raises(RemoteError, match=re.escape(message)):
            RemoteAgent("127.0.0.1", listening.getsockname()[1]).act(observation(1))
        server.shutdown()
        thread.join(timeout=20)


@pytest.fixture(name="saved")
def _saved(nano_policy, tmp_path: Path) -> Path:
    checkpoint.save(tmp_path / "policy", nano_policy(), task="OpenDrawer", backend="kitchen")
    return tmp_path / "policy"


def test_what_cannot_be_served_is_one_sentence(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        cases = {
            f"serve {saved} --port {port}": f"port {port} of 127.0.0.1 is in use; stop what listens there, or give",
            f"serve {saved} --port 65536": "--port must lie in 0..65535, got 65536",
            f"serve {saved} --host 192.0.2.1": "cannot listen on port 8000 of 192.0.2.1",
            f"serve {saved} --host 1.2.3.4.5": "--host '1.2.3.4.5' is no address",
            f"serve {saved} --device abacus": "--device 'abacus' is not to be had here",
            f"serve {tmp_path / 'none'}": "none does not exist; give the directory of a checkpoint",
        }
        for words, message in cases.items():
            assert main(words.split()) == 2, words
            out, err = capsys.readouterr()
            assert message in err, words
            assert err.startswith("z1: "), words
            assert err.count("\n") == 1, words
            assert out == "", words


def test_only_loopback_goes_unwarned() -> None:
    hosts = {"127.0.0.1": True, "localhost": True, "0.0.0.0": False}
    if socket.has_dualstack_ipv6():
        hosts |= {"::1": True, "::": False}
    for host, expected in hosts.items():
        with listen(host, 0) as listening:
            assert is_loopback(listening) == expected, host


def deaf() -> None:
    """As a script's background jobs are born."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def test_ctrl_c_ends_it_while_a_client_is_there(saved: Path, observation) -> None:
    words = [*RUN_Z1, "serve", str(saved), "--port", "0", "--host", "0.0.0.0"]
    with subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=deaf
    ) as process:
        assert process.stdout is not None
        warning, ready = process.stdout.readline(), process.stdout.readline()
        assert "anybody who reaches port" in warning
        assert f"Serving {saved} (OpenDrawer) on ws://0.0.0.0:" in ready
        port = int(ready.split(";")[0].rsplit(":", 1)[1])
        with client(port) as connection:
            assert ask(connection, of_row(observation(1)))["actions"].shape == (10, ACTION.width)
            process.send_signal(signal.SIGINT)
            with pytest.raises(ConnectionClosed, match="1001"):
                connection.recv(timeout=20)
        stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout, stderr) == (0, "Stopped.\n", "")


@pytest.mark.openpi
@pytest.mark.skipif(OPENPI_PYTHON is None, reason="Z1_OPENPI_PYTHON names no Python that has openpi-client")
def test_the_real_openpi_client(tmp_path: Path) -> None:
    local = nano_of_scene(0, vision=True)
    with served(nano_of_scene(0, vision=True)) as port:
        script = Path(__file__).with_name("openpi_client_session.py")
        words = [str(OPENPI_PYTHON), str(script), str(port), str(tmp_path / "answers.npz")]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    came = np.load(tmp_path / "answers.npz")
    sent = observations()
    expected = [local.act(read_observation(message, local))[0] for message in (*sent, sent[0])]
    assert came["actions"].tobytes() == np.stack(expected).tobytes()
    assert came["task"] == "OpenDrawer"
    assert came["has_previous"].tolist() == [False, True, True, True]
    assert (came["policy_ms"] > 0).all()
    assert (came["infer_ms"] > 0).all()
    lacks, width, unknown, large = came["refusals"].tolist()
    assert "Error in inference server:\nthe observation lacks image_left" in lacks
    assert "'state' needs 16 finite numbers, got float64 [15]" in width
    assert "unknown key 'observation/joints'" in unknown
    assert "at most 16777216 are read" in large
