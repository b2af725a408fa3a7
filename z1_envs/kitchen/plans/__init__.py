"""What a seed decides, one file per family of tasks:

plan                         the records: a Plan is compiled, a Start is where the episode begins
postures                     where the arm starts
drawers doors                drawers; doors of cabinets and microwaves
sink stove buttons           faucet and spout; knobs; coffee machine and microwave
pick_sink pick_stove         pick and place between the counter and sink or stove
pick_cabinet pick_microwave  the same for wall cabinet and microwave
mugs                         to and from the coffee machine
"""
