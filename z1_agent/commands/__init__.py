"""The commands of `z1`, one file each: a frozen dataclass whose fields are its flags, and `prepare`, which checks them.

train        demonstrations, SFT, evaluation, GRPO, evaluation
suite        many tasks with several seeds, and one table
diagnose     the signals that choose a task's recipe, and the recipe
ablate       one factor of the recipe at a time, and what it is worth
sft          a public or own policy, fine-tuned on a dataset
export       a checkpoint in LeRobot's layout
evaluate     success rate of a checkpoint, with its interval
record       films of a policy or of the expert
demos        demonstrations on disk
serve        a checkpoint for clients of openpi
assets       RoboCasa's assets: which are missing, stand-ins for them
listing      the tasks
doctor       what this machine has and lacks
at_the_door  the checks that several commands make before they work
work         what `prepare` hands back, and where it speaks
"""
