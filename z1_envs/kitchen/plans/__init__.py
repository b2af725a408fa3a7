"""What a seed decides: plan (the records), postures (where the arm starts), and one file per family of tasks: drawers,
doors, sink, stove, buttons, pick_place, mugs.
"""
