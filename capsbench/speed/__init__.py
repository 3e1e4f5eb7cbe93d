"""Speed that anyone can measure again: rows side by side, and beside the machine's limits."""
