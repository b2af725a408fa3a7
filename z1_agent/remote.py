"""An agent whose policy is elsewhere: behind `z1 serve`, or behind openpi's own server.

    with RemoteAgent("127.0.0.1", 8000) as agent:
        evaluate(agent, envs, protocol)

The protocol has no way to seed a policy elsewhere: two evaluations of one that draws noise differ.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

from z1_agent.wire import Z1_KEYS, pack, unpack
from z1_envs.layout import ACTION

_MAX_ANSWER = 16 * 2**20  # [bytes]
_METADATA_TIMEOUT = 60.0  # [s]


class RemoteError(RuntimeError):
    """The server is not there, has gone, or refused an observation, in its own words."""


class RemoteAgent:
    """Asks a policy server for every row of an observation, one after another.

    keys: our names of parts → the server's, `wire.OPENPI_KEYS` for openpi's own; parts that are not among them stay
    here. metadata: what the server said of itself on connecting, `serving.describe` for ours. The server must have
    state and actions in the env's order (`z1_envs.layout`).
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 8000, *, keys: Mapping[str, str] = Z1_KEYS) -> None:
        """Raises RemoteError where no policy server answers there."""
        self._keys = dict(keys)
        self._where = f"ws://[{host}]:{port}" if ":" in host else f"ws://{host}:{port}"
        self._open = ExitStack()
        try:
            # Without pings: openpi's server does not answer them while its policy thinks or compiles.
            self._connection = self._open.enter_context(
                connect(self._where, compression=None, max_size=_MAX_ANSWER, proxy=None, ping_interval=None)
            )
        except (OSError, InvalidHandshake) as error:
            raise RemoteError(
                f"no policy server answers at {self._where}: {error}; start one with z1 serve CHECKPOINT"
            ) from error
        try:
            self.metadata = self._receive(timeout=_METADATA_TIMEOUT)
        except BaseException:
            self.close()
            raise

    def act(self, observation: Mapping[str, Any]) -> NDArray:
        """Chunks float32 [B, H, 12] for the B rows of `observation`.

        Raises RemoteError where the server refuses a row or answers with anything but finite chunks.
        """
        rows = len(observation["state"])
        return np.stack([self._ask(_row(observation, self._keys, index)) for index in range(rows)])

    def close(self) -> None:
        """Leaves the server, which goes on."""
        self._open.close()

    def __enter__(self) -> "RemoteAgent":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _ask(self, row: Mapping[str, Any]) -> NDArray:
        try:
            self._connection.send(pack(row))
        except ConnectionClosed as error:
            raise RemoteError(f"{self._where} has closed the connection: {error}; connect again") from error
        answer = self._receive()
        actions = np.asarray(answer["actions"]) if "actions" in answer else np.array("")
        fits = actions.dtype.kind == "f" and actions.ndim == 2 and len(actions) and actions.shape[1] == ACTION.width
        if not fits or not np.isfinite(actions).all():
            raise RemoteError(
                f"{self._where} answered with actions {actions.dtype} {list(actions.shape)}, expected finite numbers "
                f"[H, {ACTION.width}]; serve a policy that was made for this env"
            )
        return actions.astype(np.float32)

    def _receive(self, timeout: float | None = None) -> dict[str, Any]:
        try:
            message = self._connection.recv(timeout)
        except TimeoutError as error:
            raise RemoteError(f"{self._where} is no policy server: it said nothing in {timeout:.0f} s") from error
        except ConnectionClosed as error:
            raise RemoteError(f"{self._where} has closed the connection: {error}; connect again") from error
        if isinstance(message, str):
            raise RemoteError(f"{self._where} refused: {message}")
        try:
            value = unpack(message)
        except ValueError as error:
            raise RemoteError(f"{self._where} is no policy server: {error}") from error
        if not isinstance(value, dict):
            raise RemoteError(f"{self._where} is no policy server: it sent {type(value).__name__}, not a map")
        return value


def _row(observation: Mapping[str, Any], keys: Mapping[str, str], index: int) -> dict[str, Any]:
    """Row `index` under the server's names; a camera that is not there stays None."""
    row: dict[str, Any] = {}
    for name, key in keys.items():
        if name in observation:
            values = observation[name]
            value = None if values is None else values[index]
            row[key] = str(value) if name == "instruction" else value
    return row
