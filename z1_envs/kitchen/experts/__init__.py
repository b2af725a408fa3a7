"""Scripted experts, one file per family of motions: intent (what a gripper wants), drawers, doors, levers, buttons,
from_above and from_front (pick and place); expert (all of them by task, and the action that follows an intent).
"""
