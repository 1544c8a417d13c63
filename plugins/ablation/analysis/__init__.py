"""What the results of an ablation mean: effects of the axes, what each choice is worth, costs, and claims corrected."""
