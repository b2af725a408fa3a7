"""Scripted experts, one file per family of tasks: intent (what a gripper wants), drawers, doors, levers, buttons,
pick_place, mugs; expert (all of them by task, and the action that follows an intent).
"""
