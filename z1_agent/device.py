"""Where a network computes: on which device, with how many threads, and in float32 that is float32."""

import torch

from z1_agent.policy import Pi05Policy

_LARGE = 100_000_000  # parameters; from here on all cores compute a chunk sooner than one
_GIVEN_THREADS = torch.get_num_threads()  # OMP_NUM_THREADS, or the cores, before `z1` settles on one


def place(policy: Pi05Policy, device: str | torch.device) -> Pi05Policy:
    """`policy`, moved to `device`, and this process made ready for it.

    On a CPU a large network computes with all threads that the process was given. On a GPU cuDNN's convolutions, which
    patches go through, may no longer round float32 to TF32's 10 bits; torch's products do not by themselves.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        torch.backends.cudnn.allow_tf32 = False
    if kind == "cpu" and sum(parameter.numel() for parameter in policy.model.parameters()) >= _LARGE:
        torch.set_num_threads(_GIVEN_THREADS)
    return policy.to(device)
