"""What holds for every test: property tests draw the same examples in every run."""

import torch
from hypothesis import settings

settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.load_profile("same")

# The models of these tests are tiny: more threads only wait for each other, and one thread sums in one order.
torch.set_num_threads(1)
