"""A policy over a websocket, in the protocol of openpi-client: whoever steers a robot with openpi can ask ours.

    server → client   on connecting: metadata, a map (`describe`)
    client → server   one observation, a map without batch axis
    server → client   {"actions": float32 [E, 12], "policy_timing": {...}, "server_timing": {...}}, or one sentence as
                      a text message, where the observation is refused

Both names of a key mean the same, and each part comes once:

    state         observation/state              [S] numbers in the order of the metadata's layouts
    image_left    observation/image              uint8 [height, width, 3], nil for a camera that is not there
    image_right   observation/extra_view_image   likewise
    image_wrist   observation/wrist_image        likewise
    scene                                        [scene_width] numbers, where the policy reads privileged scene state
    instruction   prompt                         text

Actions are the E = executed_len steps of a chunk that reach the env, in its order and range (`ACTION`). Parts that the
policy does not read may come, and are not looked at. After a refusal the connection stays open.
Source of the protocol: openpi's websocket server and openpi-client 0.1.2.
"""

import errno
import http
import ipaddress
import platform
import socket
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from z1_agent.checkpoint import Checkpoint
from z1_agent.policy import Pi05Policy
from z1_agent.wire import OPENPI_KEYS, Z1_KEYS, pack, unpack
from z1_envs.layout import ACTION, CAMERAS, SCENE, STATES

# Up to the first, a message that is too large is answered in words; beyond the second it is not even read, and the
# connection is closed with websocket's own code for that, 1009.
MAX_MESSAGE, MAX_READ = 16 * 2**20, 64 * 2**20  # [bytes]
_MAX_SENTENCE = 1000  # characters
_RETRY = 1.0  # [s] until a connection that could not be accepted is tried again
_WAKE = 0.5  # [s] a Ctrl-C that comes just before a wait without end would be lost
_NAMES = {key: name for keys in (Z1_KEYS, OPENPI_KEYS) for name, key in keys.items()}


def describe(loaded: Checkpoint) -> dict[str, Any]:
    """What clients get on connecting: of what the policy is, what it reads, what comes back, and versions."""
    config = loaded.policy.config
    layouts = [ACTION, STATES[len(loaded.policy.normalizer.state_q01)]]
    if config.model.scene_width == SCENE.width:
        layouts.append(SCENE)
    return {
        "task": loaded.task,
        "backend": loaded.backend,
        "reads": list(_reads(loaded.policy)),
        "keys": {name: [key for key in _NAMES if _NAMES[key] == name] for name in Z1_KEYS},
        "layouts": {layout.name: [[part.name, part.width, part.unit] for part in layout.parts] for layout in layouts},
        "executed_len": config.executed_len,
        "chunk_len": config.model.chunk_len,
        "image_px": None if config.model.vision is None else config.model.vision.image_px,
        "max_message_bytes": MAX_MESSAGE,
        "versions": {
            "z1-robocasa": version("z1-robocasa"),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }


def read_observation(message: Any, policy: Pi05Policy) -> dict[str, Any]:
    """The observation of one row that `policy` is to see, of an unpacked message.

    Raises ValueError where it is no map, a key is unknown, comes under both names or is missing, and where a value has
    another type or shape or is not finite.
    """
    if not isinstance(message, dict):
        raise ValueError(f"an observation is a map of parts by name, got {type(message).__name__}")
    parts: dict[str, Any] = {}
    for key, value in message.items():
        if key not in _NAMES:
            raise ValueError(f"unknown key {str(key)[:80]!r}; an observation has {', '.join(_NAMES)}")
        if _NAMES[key] in parts:
            raise ValueError(f"{_NAMES[key]!r} came under both its names; send one")
        parts[_NAMES[key]] = value
    reads = _reads(policy)
    missing = [name for name in reads if name not in parts]
    if missing:
        raise ValueError(
            f"the observation lacks {', '.join(missing)}; this policy reads {', '.join(reads)}, and takes nil for a "
            f"camera that is not there"
        )
    widths = {"state": len(policy.normalizer.state_q01), "scene": policy.config.model.scene_width}
    row: dict[str, Any] = {}
    for name in reads:
        if name in widths:
            row[name] = _vector(name, parts[name], widths[name])[None]
        elif name in CAMERAS:
            row[name] = None if parts[name] is None else _image(name, parts[name])[None]
        else:
            row[name] = [_text(name, parts[name])]
    return row


def _reads(policy: Pi05Policy) -> tuple[str, ...]:
    scene = ("scene",) if policy.config.model.scene_width else ()
    return ("state", *scene, *policy.config.cameras, "instruction")


def _vector(name: str, value: Any, width: int) -> NDArray:
    numbers = isinstance(value, list) and all(isinstance(entry, int | float) for entry in value)
    array = np.asarray(value) if numbers or isinstance(value, np.ndarray) else np.array("")
    if array.dtype.kind not in "biuf" or array.shape != (width,) or not np.isfinite(array).all():
        raise ValueError(f"{name!r} needs {width} finite numbers, got {_kind(value)}")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError(f"{name!r} needs numbers that float32 holds, got {_kind(value)} beyond")
    return array


def _image(name: str, value: Any) -> NDArray:
    fits = isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3 and value.shape[2] == 3
    if not fits or not value.size:
        raise ValueError(f"{name!r} needs an array uint8 [height, width, 3], got {_kind(value)}")
    return value


def _text(name: str, value: Any) -> str:
    # openpi's clients may send a text as a numpy scalar or as an array without axes.
    text = value.item() if isinstance(value, np.ndarray) and value.shape == () else value
    if not isinstance(text, str):
        raise ValueError(f"{name!r} needs a text, got {_kind(value)}")
    return str(text)


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        finite = value.dtype.kind not in "fc" or bool(np.isfinite(value).all())
        return f"{value.dtype} {list(value.shape)}{'' if finite else ' with nan or infinity'}"
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, list) else type(value).__name__


class Listening(socket.socket):
    """A listening socket that outlives what goes wrong with one connection: a client that left before it was accepted,
    or no file descriptor left. websockets takes any error for the end of the server.
    """

    def accept(self) -> tuple[socket.socket, Any]:
        """As socket's; raises OSError once this socket is closed."""
        while True:
            try:
                return super().accept()
            except OSError as error:
                if self.fileno() < 0:
                    raise
                if not isinstance(error, TimeoutError):  # that one only lets it look whether the socket is closed
                    print(f"z1: a connection could not be accepted ({error.strerror}); trying again", file=sys.stderr)
                    time.sleep(_RETRY)


@dataclass(frozen=True)
class _Decision:
    """actions: float32 [E, 12]. waited, thought: until the policy was free, and at work [s]."""

    actions: NDArray
    waited: float
    thought: float


class PolicyServer:
    """Serves one policy to several clients, one decision after another, on a socket that listens already.

    Web pages are turned away (requests with an Origin), so that a browser on this machine cannot be made to ask.
    """

    def __init__(self, policy: Pi05Policy, metadata: Mapping[str, Any], listening: Listening) -> None:
        self._policy = policy
        self._is_stopped = False
        self._metadata = pack(dict(metadata))
        self._busy = threading.Lock()  # a policy draws its noise from one generator
        self._connections: set[ServerConnection] = set()
        self._server = serve(
            self._talk,
            sock=listening,
            origins=[None],
            compression=None,
            max_size=MAX_READ,
            max_queue=1,
            close_timeout=2,
            process_request=_health,
        )

    def run(self) -> None:
        """Serves until `stop` or Ctrl-C, which closes all connections first.

        Raises RuntimeError where it ends by itself.
        """
        serving = threading.Thread(target=self._server.serve_forever, daemon=True)
        serving.start()
        try:
            while serving.is_alive():
                serving.join(_WAKE)
            if not self._is_stopped:
                raise RuntimeError("the server takes no connections any more; what it said before tells why")
        finally:
            self.stop()

    def stop(self) -> None:
        """Ends `run`, from another thread. Clients see their connection closed as "going away"."""
        self._is_stopped = True
        self._server.shutdown()
        for connection in list(self._connections):
            connection.close(1001)

    def _talk(self, connection: ServerConnection) -> None:
        self._connections.add(connection)
        previous: float | None = None
        try:
            connection.send(self._metadata)
            for message in connection:
                start = time.monotonic()
                connection.send(self._answer(message, previous))
                previous = time.monotonic() - start
        except ConnectionClosed:
            pass  # the client left, or sent more than MAX_READ
        finally:
            self._connections.discard(connection)

    def _answer(self, message: bytes | str, previous: float | None) -> bytes | str:
        """Bytes with actions, or a text that says why not. previous: how long the last answer took [s]."""
        try:
            decision = self._decide(message)
        except ValueError as refused:
            return str(refused)[:_MAX_SENTENCE]
        except Exception:  # whatever it is, other clients and the next message are served
            traceback.print_exc(file=sys.stderr)
            return "the policy failed on this observation; the server's own output says how"
        timing = {"infer_ms": decision.thought * 1000, "wait_ms": decision.waited * 1000}
        if previous is not None:
            timing["prev_total_ms"] = previous * 1000
        policy_timing = {"infer_ms": decision.thought * 1000}
        return pack({"actions": decision.actions, "policy_timing": policy_timing, "server_timing": timing})

    def _decide(self, message: bytes | str) -> _Decision:
        if isinstance(message, str):
            raise ValueError("an observation is a binary message of msgpack, got a text message")
        if len(message) > MAX_MESSAGE:
            raise ValueError(
                f"the message has {len(message)} bytes, at most {MAX_MESSAGE} are read; send smaller images"
            )
        observation = read_observation(unpack(message), self._policy)
        asked = time.monotonic()
        with self._busy:
            start = time.monotonic()
            actions = self._policy.act(observation)[0]
            return _Decision(actions, start - asked, time.monotonic() - start)


def _health(connection: ServerConnection, request: Request) -> Response | None:
    if request.path == "/healthz":
        return connection.respond(http.HTTPStatus.OK, "OK\n")
    return None


def listen(host: str, port: int) -> Listening:
    """A listening socket; port 0 is any that is free.

    Raises ValueError where that address cannot be had.
    """
    if not 0 <= port <= 65_535:
        raise ValueError(f"--port must lie in 0..65535, got {port}")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = Listening(fileno=socket.create_server(address[:2], family=family).detach())
        listening.settimeout(_WAKE)
        return listening
    except (socket.gaierror, UnicodeError) as error:
        raise ValueError(f"--host {host!r} is no address: {error}; give 127.0.0.1, or one of this machine's") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = f"port {port} of {host} is in use; stop what listens there, or give another --port"
        else:
            message = f"cannot listen on port {port} of {host}: {error.strerror}; give another --host or --port"
        raise ValueError(message) from error


def is_loopback(listening: socket.socket) -> bool:
    """Whether only this machine itself can reach the socket."""
    return ipaddress.ip_address(listening.getsockname()[0].split("%")[0]).is_loopback
