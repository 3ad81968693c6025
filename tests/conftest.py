import torch
from hypothesis import settings

# The same examples every time, and no deadline: whether a test passes depends on the code alone. To look for new
# counterexamples: pytest --hypothesis-profile=explore
settings.register_profile("neurosleep", deadline=None, derandomize=True, database=None)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile("neurosleep")

torch.set_num_threads(1)  # for networks this small, threads cost more than they bring
