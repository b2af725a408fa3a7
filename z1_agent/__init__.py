"""The agent: π0.5, its likelihood, and the ways to train it. In the order in which data flows:

tokenizer     prompt text, state bins, token ids
paligemma_tokenizer  the published model's vocabulary, from a user's file or the hub
images        camera images → what the vision tower reads
quantiles     statistics of data that do not fit into memory
observation   env observation → model tensors, and actions back
precision     in which precision the network computes, whatever its weights are stored in
memory        what training keeps for the backward pass: micro-batches, layers computed again
siglip gemma  the pieces of the network
prefix        what the action expert reads of an observation: keys and values; packing of tokens
pi05          the network: encode(observation) → Prefix, velocity(prefix, x, t)
lora          low-rank adapters: a small change beside frozen weights
flow          Flow-SDE and flow matching, pure functions of a velocity field
sampler       sampling made fast: a loop that compiles, CUDA graphs
policy        Policy protocol; Pi05Policy = observation + pi05 + flow
device        where a network computes: device, threads
tree          RolloutTree: decisions as arrays, parents before children
schedules     where lanes part: plans of splits, and how they change over a training
rollout       growing a tree in a branching vector env
advantage     outcomes → returns → advantages within a group
loss          clipped surrogate
trainable     which tensors learn
divergence    training whose numbers are no longer finite
average       exponential moving average of the weights that learn
checkpoint    save, load, resume: safetensors and a manifest
sft           demonstrations → policy, until a held-out score stops rising
grpo          the loop: roll, judge, learn
tensor_file   safetensors files, block by block
openpi_names  tensor names of public checkpoints ↔ ours, and their precision
pretrained    public weights → a policy
lerobot_policy  a policy → LeRobot's layout
presets       the configuration of a whole training, and the named ones
dataset       demonstrations on disk: collecting them, and what a training asks of them
start         the policy that a training begins with: fresh, public weights, or a checkpoint
backends      the envs of a training: embedded kitchen or official RoboCasa
run           the directory of a training: what is in it, who may go on with it
cpu_time      what computing has cost, worker processes included
taken_over    SFT that another run has already done
signals diagnose  what is measured of a task before its training is decided
choice recipe     which modules its training uses, why, and that this is fixed before the final evaluation
pipeline      demonstrations → SFT → evaluation → GRPO → evaluation, stage by stage
finetune      SFT on a dataset alone, of public or own policies
recording     films of a policy or of the expert
result report curves   what was found: result.json, and one HTML page
sb3           the same envs for Stable-Baselines3's algorithms
cost_control  what a training's CPU time buys when all of it goes into SFT
statistics    which differences are beyond chance: paired tests, bootstrap intervals, learning curves
jobs manifest  trainings in processes of their own; the directory of many trainings
summary tables published suite_report suite  all tasks with several seeds, and the table of what they found
ablation comparison ablation_report  one factor of the recipe at a time, at equal cost
wire serving remote    a policy over a websocket, as openpi's clients ask for it; an agent that asks such a server
console doctor cli     the command `z1`
commands/     what it can be told, one file per command
"""

import os

# MKL's sums may depend on where in memory arrays happen to lie; this, read at its first call, forbids it at no cost.
os.environ.setdefault("MKL_CBWR", "AUTO")
