"""Scripted experts, one file per family of motions:

intent          what a gripper wants
grasp           where it takes hold of what lies however
drawers doors   pulled and pushed
levers buttons  faucet, spout and knobs; buttons of coffee machine and microwave
from_above      pick and place by a gripper that points down
from_front      the same by one that points forwards, under and into things
expert          all of them by task, and the action that follows an intent
agent           the same as an agent: ExpertAgent, to evaluate, to film, to label states
"""
