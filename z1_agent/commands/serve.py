"""`z1 serve`: a checkpoint for clients of openpi."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from z1_agent import checkpoint
from z1_agent.commands.at_the_door import check_device
from z1_agent.commands.work import Work, console
from z1_agent.device import place
from z1_agent.serving import PolicyServer, describe, is_loopback, listen


@dataclass(frozen=True, kw_only=True)
class Serve:
    """Serve a checkpoint to openpi-client, over a websocket, until Ctrl-C.

    host: address to listen on, by default one that only this machine reaches. port: 0 takes any that is free.
    device: where the policy thinks, such as "cuda".
    """

    checkpoint: Positional[Path]
    host: str = "127.0.0.1"
    port: int = 8000
    device: str = "cpu"

    def prepare(self, _argv: Sequence[str]) -> Work:
        """Loads the checkpoint and takes the port; the work is the serving."""
        device = check_device(self.device)
        loaded = checkpoint.load(self.checkpoint)
        place(loaded.policy, device).eval()
        listening = listen(self.host, self.port)
        server = PolicyServer(loaded.policy, describe(loaded), listening)

        def work() -> int:
            host, port = listening.getsockname()[:2]
            if not is_loopback(listening):
                console.print(
                    f"Warning: anybody who reaches port {port} of this machine may use the policy.", markup=False
                )
            where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            console.print(f"Serving {self.checkpoint} ({loaded.task}) on ws://{where}; Ctrl-C ends it.", markup=False)
            # A shell script's background job is born deaf to Ctrl-C, and Python leaves it so.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            try:
                server.run()
            except KeyboardInterrupt:
                console.print("Stopped.")
            return 0

        return work
