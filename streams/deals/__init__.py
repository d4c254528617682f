"""What became of each deal?  Its events, folded into one record, and the facts that follow from it."""
