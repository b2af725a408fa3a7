"""What a seed decides: plan (the records), postures (where the arm starts), and one file per family of tasks: drawers,
doors, sink, stove, buttons, pick_sink, pick_stove, pick_cabinet, pick_microwave, mugs.
"""
